"""Read training rows and held-out rows from a dataset folder or a file."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pydantic import JsonValue, ValidationError

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.prompt_templates import ANSWER_HEADING, PROMPT_FORMATS, ChatMessage, write_messages
from insurance_rag.core.records import HeldOut, TrainingRow


def training_file(dataset: Path, prompt_format: str) -> Path:
    """Return the training file for `prompt_format` in the folder `dataset`, or `dataset` itself if it is a file."""
    return DatasetFolder(dataset).training(prompt_format) if dataset.is_dir() else dataset


def heldout_file(dataset: Path, prompt_format: str) -> Path | None:
    """Return the path of the held-out rows in a prompt format, or None if there are no held-out rows.

    The file is in the dataset folder, or next to the dataset file. A folder with only `heldout.json` has held-out rows
    in one format, which then serve for all formats with text prompts that ask for an answer.
    """
    own, default = _folder(dataset).heldout(prompt_format), _folder(dataset).heldout()
    form = PROMPT_FORMATS[prompt_format]
    paths = (own,) if form.chat or form.judges_answers else (own, default)
    return next((path for path in paths if path.is_file()), None)


def held_out(dataset: Path) -> HeldOut | None:
    """Return what the dataset's report lists as held out, or None if there is no report.

    Raises InvalidInputError if the report cannot be read.
    """
    folder = _folder(dataset)
    if not folder.report.is_file():
        return None
    return folder.read_report().split


def _folder(dataset: Path) -> DatasetFolder:
    return DatasetFolder(dataset if dataset.is_dir() else dataset.parent)


def read_rows(path: Path, *, chat: bool = False) -> list[TrainingRow]:
    """Read training rows from a JSON or JSON-lines file.

    A row that has only a `text` field (as in the reference design) is split into prompt and answer. With `chat`, rows
    have `messages`: a user's message and its answer, and before them an optional system prompt.
    Raises InvalidInputError if the file has no rows. Also raises it for an invalid row, e.g. a row without an answer.
    """
    rows, problems = _parse_rows(read_values(path), path, chat)
    if not rows and not problems:
        problems = [f"{path}: holds no rows; make it with `insurance-rag validate`"]
    if problems:
        raise InvalidInputError(problems)
    return rows


def read_heldout_rows(path: Path, *, chat: bool = False) -> list[TrainingRow]:
    """Read rows like `read_rows`, but accept an empty file, because a dataset may have no held-out rows."""
    return read_rows(path, chat=chat) if read_values(path) else []


def read_values(path: Path) -> list[JsonValue]:
    """Return the rows of a JSON or JSON-lines file, unchecked. Raises InvalidInputError if it cannot be read."""
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    value = read_json(path)
    return value if isinstance(value, list) else [value]


def _parse_rows(values: list[JsonValue], path: Path, chat: bool) -> tuple[list[TrainingRow], list[str]]:
    """Return the valid rows, and one error message per kind of problem."""
    rows = []
    numbers: dict[str, list[int]] = {}
    for number, value in enumerate(values, 1):
        split = _split_messages if chat else _split_text
        row = split(value) if isinstance(value, dict) else {}
        missing = [key for key in ("prompt", "completion") if not str(row.get(key, "")).strip()]
        if missing:
            problem = "no `messages` with a question and its answer" if chat else f"no {' and no '.join(missing)}"
            numbers.setdefault(problem, []).append(number)
            continue
        try:
            rows.append(TrainingRow.model_validate(row))
        except ValidationError as e:
            first = e.errors()[0]
            numbers.setdefault(f"an invalid {first['loc'][0]} ({first['msg']})", []).append(number)
    remedy = "make the file with `insurance-rag validate`"
    return rows, [row_problem(path, problem, found, remedy) for problem, found in numbers.items()]


def row_problem(path: Path, problem: str, numbers: list[int], remedy: str) -> str:
    """Return the error message for the rows with these numbers, which have the same problem."""
    if len(numbers) == 1:
        where = f"row {numbers[0]} has {problem}"
    else:
        where = f"{len(numbers)} rows have {problem}, the first is row {numbers[0]}"
    return f"{path}: {where}; {remedy}"


def _split_text(row: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Split the `text` of a row without a prompt into prompt and completion. Return other rows unchanged."""
    text = row.get("text")
    if "prompt" in row or not isinstance(text, str):
        return row
    prompt, heading, completion = text.rpartition(ANSWER_HEADING)
    return {**row, "prompt": prompt + heading, "completion": completion} if heading else row


def _split_messages(row: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a row of chat messages with prompt and completion. Return an empty row if the messages cannot be used."""
    found = row.get("messages")
    messages = [message for message in found if isinstance(message, dict)] if isinstance(found, list) else []
    if [message.get("role") for message in messages] not in (["user", "assistant"], ["system", "user", "assistant"]):
        return {}
    if not all(isinstance(message.get("content"), str) for message in messages):
        return {}
    prompt = [cast("ChatMessage", {key: message[key] for key in ("role", "content")}) for message in messages[:-1]]
    return {**row, "prompt": write_messages(prompt), "completion": messages[-1]["content"]}
