"""Measure the fraction of questions for which the retriever finds a gold chunk.

The halves of a hybrid retriever, and the retriever without its reranker, are measured as well. A warning names a
combination that is worse than one of its parts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records import RetrievalSummary

EXAMPLE = """insurance-rag retrieve --chunks sample --questions sample --retriever bm25 --out retrieval.json
  insurance-rag retrieve --chunks sample --questions sample --retriever hybrid \\
      --set embedder=sentence-transformers:BAAI/bge-m3 --set reranker=BAAI/bge-reranker-v2-m3 --cache cache"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from insurance_rag.config import RetrievalConfig
    from insurance_rag.retrieval.retrievers import RETRIEVERS

    parser.add_argument("--chunks", required=True, help="chunked_data.jsonl, or `sample`")
    parser.add_argument("--questions", required=True, help="questions.jsonl, or `sample`")
    parser.add_argument(
        "--retriever",
        choices=RETRIEVERS.names,
        default=RetrievalConfig().kind,
        help=" ".join(f"{entry.name}: {entry.description}" for entry in RETRIEVERS.entries.values()),
    )
    parser.add_argument(
        "--cache", type=Path, help="folder in which the index and the reranker's scores are kept for later runs"
    )
    parser.add_argument("--out", type=Path, help="also write the scores, and one row per question, to this JSON file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a field of RetrievalConfig; may be repeated",
    )


def run(args: argparse.Namespace) -> RetrievalSummary:
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
        write_json(args.out, measured.model_dump(mode="json"))
    return measured.summary
