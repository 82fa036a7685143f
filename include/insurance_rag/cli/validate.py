"""Check the generated rows by every rule, merge them, and write the training files of v1, v2 and v3.

Writes train_dataset.json, train_dataset_rag.json, train_dataset_final_v2.json, heldout.json, rejects.jsonl, report.json
and README.md (the dataset card) into --out. Dropped rows are kept with their reason.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = """insurance-rag validate --run runs/demo --out runs/demo/dataset
  insurance-rag validate --parts parts/ --chunks chunked_data.jsonl --questions questions.jsonl --out dataset/
  insurance-rag validate --parts parts/ --rules spec --set dataset.unanswerable_share=0 --out dataset/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="run folder: its parts and its clauses")
    source.add_argument("--parts", type=Path, nargs="+", help="part files (dataset_part_N.json) or folders of them")
    parser.add_argument("--chunks", help='clauses the rows were drawn from; default: the run\'s own; "sample"')
    parser.add_argument("--questions", help='evaluation questions whose documents are held out; "sample"')
    parser.add_argument("--allow-partial", action="store_true", help="of a --run whose generation is not complete")
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to write")
    parser.add_argument("--previous", type=Path, help="report.json of an earlier run, to measure drift against")
    parser.add_argument("--rules", choices=("all", "spec"), default="all", help="spec: its five rules alone")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any ValidationConfig setting")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.config import SPEC_RULES, ValidationConfig
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.errors import IncompleteError
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.generation import missing_chunks, write_open_parts
    from insurance_rag.planning.plan import read_plan
    from insurance_rag.validation import validate_parts

    settings = parse_settings(args.set)
    if args.rules == "spec":
        settings = {"rules": SPEC_RULES, **settings}
    config = ValidationConfig.parse(settings, "--set")
    folder = RunFolder(args.run) if args.run else None
    if folder:
        plan = read_plan(folder)
        if (missing := missing_chunks(folder)) and not args.allow_partial:
            n = sum(map(len, missing.values()))
            raise IncompleteError(
                f"{folder.root}: {n} clauses have no answer yet; generate again, or give --allow-partial"
            )
        write_open_parts(folder, plan)
    chunks = args.chunks or (folder.chunks if folder else None)
    return validate_parts(
        [folder.parts] if folder else args.parts,
        read_chunks(chunks) if chunks else None,
        args.out,
        config,
        questions=read_questions(args.questions) if args.questions else None,
        previous=args.previous,
        progress=folder.progress if folder else None,
    )
