"""Score the answers of an evaluation again, with the current metrics and checks. No model is needed.

Use this command after a metric or a reference answer has changed, or to score answers that were generated on another
machine. The questions, the chunks and the folder that `evaluate` wrote are sufficient.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records import EvaluationArtifact

EXAMPLE = "insurance-rag rescore --evaluation runs/demo/evaluation --questions sample --chunks sample"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--evaluation", type=Path, required=True, help="folder that `evaluate` wrote")
    parser.add_argument("--questions", required=True, help="questions.jsonl, or `sample`")
    parser.add_argument("--chunks", required=True, help="chunked_data.jsonl, or `sample`")
    parser.add_argument(
        "--labels", type=Path, metavar="CSV", help="labelling.csv of the evaluation, filled in by a person"
    )


def run(args: argparse.Namespace) -> EvaluationArtifact:
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.evaluation.annotations import read_annotations
    from insurance_rag.evaluation.runner import rescore

    return rescore(
        args.evaluation,
        read_questions(args.questions),
        read_chunks(args.chunks),
        labels=read_annotations(args.labels) if args.labels else None,
    )
