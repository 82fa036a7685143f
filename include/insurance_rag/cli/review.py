"""Exchange review decisions with files, and show how far a review is.

`export` writes the items of a set with the decisions about them, as CSV for a spreadsheet or as JSON Lines for Argilla.
`import` records the decisions in such a file. `status` counts the decisions. A set is a dataset folder (--dataset) or a
question file with its candidates (--questions).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

    from insurance_rag.review.records import ReviewItem
    from insurance_rag.review.store import ReviewStore

EXAMPLE = """insurance-rag review export --dataset runs/demo/dataset --reviews reviews --out rows.csv
  insurance-rag review import --dataset runs/demo/dataset --reviews reviews --file rows.csv
  insurance-rag review status --questions questions.jsonl --reviews reviews"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("export", "import", "status"))
    items = parser.add_mutually_exclusive_group(required=True)
    items.add_argument("--dataset", type=Path, help="dataset folder that `validate` wrote")
    items.add_argument("--questions", type=Path, help="question file that `questions make` wrote")
    parser.add_argument("--chunks", type=Path, help="chunk file; default: the one next to the dataset or in the report")
    parser.add_argument("--all", action="store_true", help="with --questions: also the spare candidates")
    parser.add_argument("--reviews", type=Path, required=True, help="folder with the journals of decisions")
    parser.add_argument("--out", type=Path, help="file for `export`: .csv or .jsonl")
    parser.add_argument("--file", type=Path, help="file for `import`: .csv, .jsonl or .json")
    parser.add_argument("--reviewer", help="name that `import` records; default: the name of the system user")


def run(args: argparse.Namespace) -> BaseModel:
    """Read the set, then export it, import decisions or count them."""
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.review.progress import count_decisions
    from insurance_rag.review.store import ReviewStore

    needed = {"export": ("--out", args.out), "import": ("--file", args.file)}.get(args.action)
    if needed and needed[1] is None:
        raise InvalidInputError(f"review {args.action}: no {needed[0]}; name the file")
    items = _read_items(args)
    store = ReviewStore(args.reviews, "row" if args.dataset else "question")
    if args.action == "import":
        return _import(args.file, items, store, args.reviewer)
    items = _without_spare(items, store) if args.questions and not args.all else items
    if args.action == "export":
        return _export(args.out, items, store)
    return count_decisions(items, store.states())


def _read_items(args: argparse.Namespace) -> list[ReviewItem]:
    from insurance_rag.core.dataset_folder import DatasetFolder
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.questions.review_items import read_question_items
    from insurance_rag.validation.review_items import read_row_items

    if args.questions:
        return read_question_items(args.questions, args.chunks)
    next_to_it = RunFolder(args.dataset.resolve().parent).chunks
    return read_row_items(DatasetFolder(args.dataset), args.chunks or (next_to_it if next_to_it.is_file() else None))


def _without_spare(items: list[ReviewItem], store: ReviewStore) -> list[ReviewItem]:
    """Return the questions of the set, and the candidates outside the set that somebody decided about."""
    decided = store.decisions()
    return [item for item in items if not item.dropped or item.key in decided]


def _export(out: Path, items: list[ReviewItem], store: ReviewStore) -> BaseModel:
    from insurance_rag.core.files import atomic_write
    from insurance_rag.review.exchange import export_items, file_format
    from insurance_rag.review.progress import count_decisions

    content = export_items(items, store, file_format(out.name))
    with atomic_write(out, "wb") as f:
        f.write(content)
    return count_decisions(items, store.states())


def _import(file: Path, items: list[ReviewItem], store: ReviewStore, reviewer: str | None) -> BaseModel:
    import getpass

    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.review.exchange import import_decisions

    try:
        content = file.read_bytes()
    except OSError as e:
        raise InvalidInputError(f"{file}: cannot be read ({e.strerror}); check the path and its permissions") from e
    return import_decisions(content, file.name, items, store, reviewer or getpass.getuser())
