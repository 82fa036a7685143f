"""Let Base and adapters answer the same questions from retrieved clauses, and compare them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = (
    "insurance-rag evaluate --questions sample --chunks sample --base-model runs/demo/base_model \\\n"
    "      --adapter v1=runs/demo/adapters/llama-3-ko-insurance-lora --out runs/demo/evaluation"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shared_arguments(parser)
    parser.add_argument("--reference", action="store_true", help="load, merge into 4 bit, one answer at a time")
    parser.add_argument("--labels", type=Path, help="labelling.csv, filled in by a person")
    parser.add_argument("--decoding", choices=("before", "after", "default"), default="default")


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """What `evaluate` and `sweep` have in common."""
    parser.add_argument("--questions", required=True, help="questions.jsonl, or sample")
    parser.add_argument("--limit", type=int, help="ask the first N questions only")
    parser.add_argument("--chunks", required=True, help="chunked_data.jsonl, or sample")
    parser.add_argument("--base-model", required=True, help="Hugging Face name or local folder")
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="folder where the retriever's index is kept between runs")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="e.g. retrieval.clauses=5, decoding.temperature=0.1",
    )


def read_shared_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `evaluate` and `sweep`; InvalidInputError lists what is wrong with any of them."""
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.config import EvaluationConfig
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.errors import InvalidInputError

    problems = [f"--adapter {a}: want NAME=DIR" for a in args.adapter if not all(a.partition("="))]
    if args.limit is not None and args.limit < 1:
        problems.append(f"--limit {args.limit}: want 1 or more")
    if problems:
        raise InvalidInputError(problems)
    settings = parse_settings(args.set)
    decoding = settings.pop("decoding", {})
    run = args.out.parent  # the stage's folder in a run folder has the run's progress folder beside it
    return {
        "questions": read_questions(args.questions)[: args.limit],
        "chunks": read_chunks(args.chunks),
        "base_model": args.base_model,
        "adapters": {name: Path(folder) for name, _, folder in (a.partition("=") for a in args.adapter)},
        "out": args.out,
        "settings": decoding,
        "config": EvaluationConfig.parse(settings, "--set"),
        "cache": args.cache,
        "progress": run / "progress" if (run / "plan.json").exists() else None,
    }


def run(args: argparse.Namespace) -> dict[str, Any]:
    import os

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # beside other load, spinning threads make a step 10x slower
    from insurance_rag.config import DecodingConfig
    from insurance_rag.evaluation.annotations import read_sheet
    from insurance_rag.evaluation.run import evaluate

    arguments = read_shared_arguments(args)
    decoding = DecodingConfig.preset(args.decoding).model_dump() | arguments.pop("settings")
    if args.reference:
        arguments["config"] = arguments["config"].model_copy(update={"reference": True})
    labels = read_sheet(args.labels) if args.labels else None
    return evaluate(**arguments, labels=labels, decoding=DecodingConfig.parse(decoding, "--set decoding"))
