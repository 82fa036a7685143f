"""Measure how often the retriever finds the gold clause of each question."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = "insurance-rag retrieve --chunks sample --questions sample --retriever bm25 --out retrieval.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--chunks", required=True, help="chunked_data.jsonl, or sample")
    parser.add_argument("--questions", required=True, help="questions.jsonl, or sample")
    parser.add_argument("--retriever", choices=("bm25", "dense", "hybrid"), default="bm25")
    parser.add_argument("--cache", type=Path, help="folder where the index is kept between runs")
    parser.add_argument("--out", type=Path, help="write the figures with a row for each question")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="retrieval settings")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.config import RetrievalConfig
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.files import write_json
    from insurance_rag.retrieval import build_retriever, measure_retrieval

    config = RetrievalConfig.parse({"kind": args.retriever, **parse_settings(args.set)}, "--set")
    chunks, questions = read_chunks(args.chunks), read_questions(args.questions)
    retriever = build_retriever(config.kind, chunks, args.cache, config)
    measured = measure_retrieval(retriever, questions, config.use_filters)
    if args.out:
        write_json(args.out, measured)
    return {key: value for key, value in measured.items() if key != "rows"}
