"""Check the generated rows with the validation rules, merge them, and write the training files.

Writes to the folder --out: one training file per prompt format, heldout.json, rejects.jsonl (every dropped row with the
reason), report.json and README.md (the dataset card).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records import DatasetArtifact

EXAMPLE = """insurance-rag validate --run runs/demo --out runs/demo/dataset
  insurance-rag validate --parts parts/ --chunks chunked_data.jsonl --questions questions.jsonl --out dataset/
  insurance-rag validate --parts parts/ --rules reference --set dataset.unanswerable_share=0 --out dataset/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--run", type=Path, help="run folder with the parts and the chunks")
    rows.add_argument(
        "--parts", type=Path, nargs="+", help="part files (dataset_part_N.json), or folders that contain them"
    )
    parser.add_argument(
        "--chunks", help="chunk file that the rows were generated from, or `sample` (default: the chunk file of --run)"
    )
    parser.add_argument(
        "--questions", help="evaluation questions whose documents or sections are held out, or `sample`"
    )
    parser.add_argument("--allow-partial", action="store_true", help="accept a run with unanswered chunks")
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to write")
    parser.add_argument("--previous", type=Path, help="report.json of an earlier dataset, the baseline for drift")
    parser.add_argument("--reviews", type=Path, help="folder with the decisions of reviewers, which are applied")
    parser.add_argument(
        "--rules",
        choices=("all", "reference"),
        default="all",
        help="`reference` applies only the five rules in docs/origin.md",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a field of ValidationConfig"
    )


def run(args: argparse.Namespace) -> DatasetArtifact:
    """Validate the parts of a run, or the given parts."""
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.config import REFERENCE_RULES, ValidationConfig, parse_settings
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.validation.validate import validate_parts
    from insurance_rag.validation.validate_run import validate_run

    settings = parse_settings(args.set)
    if args.rules == "reference":
        settings = {"rules": REFERENCE_RULES, **settings}
    config = ValidationConfig.parse(settings, "--set")
    chunks = read_chunks(args.chunks) if args.chunks else None
    questions = read_questions(args.questions) if args.questions else None
    if args.run:
        return validate_run(
            RunFolder(args.run),
            questions,
            config,
            args.allow_partial,
            args.previous,
            chunks=chunks,
            out=args.out,
            reviews=args.reviews,
        )
    return validate_parts(
        args.parts, chunks, args.out, config, questions=questions, previous=args.previous, reviews=args.reviews
    )
