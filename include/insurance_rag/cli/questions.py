"""Make a set of evaluation questions about any documents, check it, let people review it, and freeze it.

`make` asks the teacher for candidates, checks them, and writes the best ones as planned: Q.jsonl, Q.candidates.jsonl
(all candidates with the reasons) and Q.report.json. `check` applies the checks to an existing set, and names the
questions that a new edition of the chunks breaks. `review` exchanges decisions with files. `freeze` writes the final
set with its hash. `import` reads questions and feedback from production, without personal data, and sorts them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.cli.actions import add_action
from insurance_rag.cli.plan import add_teacher_arguments, generation_config, log_retirement

if TYPE_CHECKING:
    from pydantic import BaseModel

    from insurance_rag.config import GenerationConfig, QuestionsConfig

EXAMPLES = {
    "make": """insurance-rag questions make --chunks chunks.jsonl --out questions.jsonl --n 200 --keys keys.json
  insurance-rag questions make --chunks new_chunks.jsonl --previous questions.jsonl --out new_questions.jsonl""",
    "check": "insurance-rag questions check --questions questions.jsonl --chunks new_chunks.jsonl",
    "review": """insurance-rag questions review --questions questions.jsonl --export review.csv
  insurance-rag questions review --questions questions.jsonl --import review.csv""",
    "freeze": "insurance-rag questions freeze --questions questions.jsonl --out frozen.jsonl --require-review",
    "import": """insurance-rag questions import feedback.csv --columns question=문의 --chunks chunks.jsonl --out live
  insurance-rag questions import traces.jsonl scores.jsonl --chunks chunks.jsonl --questions frozen.jsonl --out live""",
}
EXAMPLE = "\n  ".join(EXAMPLES.values())

GENERATION = "generation."
"""Prefix of a key in --set that sets a field of GenerationConfig."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, add, help_text in (
        ("make", _add_make, "make a set of questions with the teacher"),
        ("check", _add_check, "check a set, with the same or a new edition of the chunks"),
        ("review", _add_review, "export and import decisions about the questions"),
        ("freeze", _add_freeze, "write the final set with its hash"),
        ("import", _add_import, "import questions and feedback from production, without personal data"),
    ):
        add_action(actions, name, help_text, f"examples:\n  {EXAMPLES[name]}", add)


def _add_make(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--chunks", required=True, help='chunk file (JSON lines), or "sample"')
    parser.add_argument("--out", required=True, type=Path, help="file to write, e.g. questions.jsonl")
    parser.add_argument("--n", type=int, help="number of questions (default: 200, or that of --previous)")
    parser.add_argument("--keys", type=Path, help="JSON file with the API keys; default: $GEMINI_API_KEYS")
    parser.add_argument("--run", type=Path, help="folder for the teacher's answers (default: next to --out)")
    parser.add_argument("--dataset", type=Path, help="dataset folder; questions keep away from its training rows")
    parser.add_argument("--previous", type=Path, help="earlier set: keep what still fits, and replace only the rest")
    add_teacher_arguments(parser)
    next(
        a for a in parser._actions if a.dest == "set"
    ).help = f"set a field of QuestionsConfig, or of GenerationConfig with the prefix `{GENERATION}`; may be repeated"


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--questions", required=True, help='question file, or "sample"')
    parser.add_argument("--chunks", required=True, help='chunk file of the same or a new edition, or "sample"')
    parser.add_argument("--old-chunks", help="chunk file that the questions were made from, if they have no report")
    parser.add_argument("--dataset", type=Path, help="dataset folder; finds repeated training questions")
    parser.add_argument("--out", type=Path, help="file to write (default: Q.check.json)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a field of QuestionsConfig"
    )


def _add_review(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--questions", required=True, type=Path, help="question file that `questions make` wrote")
    parser.add_argument("--reviews", type=Path, help="folder with the decisions (default: `reviews` next to the file)")
    parser.add_argument("--chunks", type=Path, help="chunk file (default: the one in the report)")
    parser.add_argument("--all", action="store_true", help="also export and count the spare candidates, not in the set")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the questions to this .csv or .jsonl file")
    parser.add_argument("--import", type=Path, metavar="FILE", dest="import_file", help="record this file's decisions")
    parser.add_argument("--reviewer", help="name to record (default: the name of the system user)")


def _add_freeze(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--questions", required=True, type=Path, help="question file that `questions make` wrote")
    parser.add_argument("--out", required=True, type=Path, help="file to write")
    parser.add_argument("--reviews", type=Path, help="folder with the decisions (default: `reviews` next to the file)")
    parser.add_argument("--require-review", action="store_true", help="fail if a question has no decision")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help=".jsonl, .json or .csv; also Langfuse exports"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder to write; a later import adds to it")
    parser.add_argument("--chunks", required=True, help='chunk file (JSON lines), or "sample"')
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="COLUMN=NAME",
        help="name of a column in the files; repeatable",
    )
    parser.add_argument("--questions", help="frozen set to compare with; its questions are not proposed again")
    parser.add_argument("--dataset", type=Path, help="dataset folder, whose pairs per chunk are compared")
    parser.add_argument("--skip-invalid", action="store_true", help="leave out invalid lines, and count them")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a field of LiveQuestionsConfig"
    )


def run(args: argparse.Namespace) -> BaseModel:
    """Run one action and return its result."""
    actions: dict[str, Callable[[argparse.Namespace], BaseModel]] = {
        "make": _make,
        "check": _check,
        "review": _review,
        "freeze": _freeze,
        "import": _import,
    }
    return actions[args.action](args)


def _make(args: argparse.Namespace) -> BaseModel:
    from insurance_rag.planning.keys import load_keys
    from insurance_rag.questions.make import make_questions

    config, generation = _configs(args)
    log_retirement(generation)
    keys = load_keys(args.keys, generation.teacher)
    return make_questions(
        args.chunks, args.out, args.run, keys, config, args.previous, args.dataset, generation=generation
    )


def _configs(args: argparse.Namespace) -> tuple[QuestionsConfig, GenerationConfig]:
    """Return both configurations. Raises an InvalidInputError that lists every invalid setting of both."""
    from insurance_rag.chunks import read_questions
    from insurance_rag.config import QuestionsConfig
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.errors import InvalidInputError

    of_teacher = [setting for setting in args.set if setting.startswith(GENERATION)]
    values = parse_settings(setting for setting in args.set if setting not in of_teacher)
    if args.n is not None:
        values["n"] = args.n
    elif args.previous and "n" not in values:
        values["n"] = len(read_questions(args.previous))
    problems: list[str] = []
    config = generation = None
    try:
        config = QuestionsConfig.parse(values, "settings")
    except InvalidInputError as e:
        problems += e.problems
    try:
        given = {**vars(args), "set": [setting.removeprefix(GENERATION) for setting in of_teacher]}
        generation = generation_config(argparse.Namespace(**given))
    except InvalidInputError as e:
        problems += e.problems
    if config is None or generation is None:
        raise InvalidInputError(problems)
    return config, generation


def _check(args: argparse.Namespace) -> BaseModel:
    from insurance_rag.config import QuestionsConfig
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.questions.check import check_questions

    config = QuestionsConfig.parse(parse_settings(args.set), "--set")
    return check_questions(
        args.questions, args.chunks, args.out, config, dataset=args.dataset, old_chunks=args.old_chunks
    )


def _review(args: argparse.Namespace) -> BaseModel:
    """Export or import decisions, as `insurance-rag review` does. Without a file, count the decisions."""
    from insurance_rag.cli import review
    from insurance_rag.core.errors import InvalidInputError

    if args.export and args.import_file:
        raise InvalidInputError("questions review: --export and --import exclude each other; give one of them")
    action = "export" if args.export else "import" if args.import_file else "status"
    given = {
        "action": action,
        "all": args.all,
        "questions": args.questions,
        "dataset": None,
        "chunks": args.chunks,
        "reviews": _reviews(args),
        "out": args.export,
        "file": args.import_file,
        "reviewer": args.reviewer,
    }
    return review.run(argparse.Namespace(**given))


def _freeze(args: argparse.Namespace) -> BaseModel:
    from insurance_rag.questions.freeze import freeze_questions

    frozen = freeze_questions(args.questions, args.out, reviews=_reviews(args), require_review=args.require_review)
    return frozen.summary()


def _import(args: argparse.Namespace) -> BaseModel:
    from insurance_rag.config.live_questions import LiveQuestionsConfig
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.questions.live.columns import parse_columns
    from insurance_rag.questions.live.run import import_questions

    problems: list[str] = []
    config, names = LiveQuestionsConfig(), dict[str, str]()
    try:
        config = LiveQuestionsConfig.parse(parse_settings(args.set), "--set")
    except InvalidInputError as e:
        problems += e.problems
    try:
        names = parse_columns(args.columns)
    except InvalidInputError as e:
        problems += e.problems
    if problems:
        raise InvalidInputError(problems)
    return import_questions(
        args.files,
        args.out,
        args.chunks,
        config,
        names=names,
        questions=args.questions,
        dataset=args.dataset,
        skip_invalid=args.skip_invalid,
    )


def _reviews(args: argparse.Namespace) -> Path:
    folder: Path = args.reviews or args.questions.resolve().parent / "reviews"
    return folder
