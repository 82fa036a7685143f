"""Read preference pairs: prompts, each with a better (chosen) and a worse (rejected) answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import JsonValue, ValidationError

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import TrainingPair
from insurance_rag.training.dataset_rows import read_values, row_problem
from insurance_rag.training.encoders import remove_end_of_text

_FIELDS = ("prompt", "chosen", "rejected")


def preference_file(dataset: Path) -> Path:
    """Return the file of preference pairs in the folder `dataset`, or `dataset` itself if it is a file."""
    return DatasetFolder(dataset).preferences if dataset.is_dir() else dataset


def heldout_preference_file(dataset: Path) -> Path | None:
    """Return the file of held-out pairs in the dataset folder or next to the dataset file; None if there is none."""
    path = DatasetFolder(dataset if dataset.is_dir() else dataset.parent).heldout_preferences
    return path if path.is_file() else None


Prompt = Callable[[str, str], str]
"""Function (question, context) -> prompt."""


def read_pairs(path: Path, prompt: Prompt | None = None) -> list[TrainingPair]:
    """Read preference pairs from a JSON or JSON-lines file.

    With `prompt`, the prompts are made from the fields `instruction` and `context` of the pairs.
    Raises InvalidInputError if the file has no pairs. Also raises it if a row lacks one of its three texts, or if the
    two answers of a row are equal. The error lists every kind of problem, with the number of rows that have it.
    """
    values = read_values(path)
    if not values:
        raise InvalidInputError(f"{path}: holds no preference pairs; make them with `insurance-rag validate`")
    rows, numbers = [], dict[str, list[int]]()
    for number, value in enumerate(values, 1):
        value = _with_prompt(value, prompt) if prompt else value
        problems = list(_problems(value))
        for problem in problems:
            numbers.setdefault(problem, []).append(number)
        if not problems:
            rows.append(TrainingPair.model_validate(value))
    if numbers:
        raise InvalidInputError([_message(path, problem, found) for problem, found in numbers.items()])
    return rows


def read_heldout_pairs(path: Path, prompt: Prompt | None = None) -> list[TrainingPair]:
    """Read pairs like `read_pairs`, but accept an empty file, because a dataset may have no held-out pairs."""
    return read_pairs(path, prompt) if read_values(path) else []


def _with_prompt(value: JsonValue, prompt: Prompt) -> JsonValue:
    """Return the row with a prompt made from its question and context. The prompt is empty if one is missing."""
    row = value if isinstance(value, dict) else {}
    question, context = row.get("instruction"), row.get("context") or row.get("input")
    made = prompt(question, context) if isinstance(question, str) and isinstance(context, str) else ""
    return {**row, "prompt": made}


def _problems(value: JsonValue) -> Iterator[str]:
    """Yield what is wrong with one row."""
    row = value if isinstance(value, dict) else {}
    texts = {name: row.get(name) for name in _FIELDS}
    yield from (f"no {name}" for name in _FIELDS if not str(texts[name] or "").strip())
    chosen, rejected = texts["chosen"], texts["rejected"]
    if isinstance(chosen, str) and isinstance(rejected, str) and chosen.strip() and _same(chosen, rejected):
        yield "two equal answers"
    if all(texts.values()):
        try:
            TrainingPair.model_validate(row)
        except ValidationError as e:
            yield from (f"an invalid {error['loc'][0]} ({error['msg']})" for error in e.errors())


def _same(chosen: str, rejected: str) -> bool:
    """Return whether the answers are equal without the end-of-text token, which is removed before training."""
    return remove_end_of_text(chosen).strip() == remove_end_of_text(rejected).strip()


def _message(path: Path, problem: str, numbers: list[int]) -> str:
    remedy = "remove them" if problem == "two equal answers" else "write prompt, chosen and rejected in every row"
    return row_problem(path, problem, numbers, remedy)
