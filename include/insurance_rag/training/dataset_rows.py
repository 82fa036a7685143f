"""Read training rows and held-out rows from a dataset folder or a file."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue, ValidationError

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.prompt_templates import ANSWER_HEADING, PROMPT_FORMATS
from insurance_rag.core.records import TrainingRow


def training_file(dataset: Path, prompt_format: str) -> Path:
    """Return the training file for `prompt_format` in the folder `dataset`, or `dataset` itself if it is a file."""
    return DatasetFolder(dataset).training(prompt_format) if dataset.is_dir() else dataset


def heldout_file(dataset: Path) -> Path | None:
    """Return the path of the held-out rows, or None if there is no such file.

    The file is in the dataset folder, or next to the dataset file.
    """
    path = _folder(dataset).heldout
    return path if path.is_file() else None


def heldout_documents(dataset: Path) -> list[str] | None:
    """Return the documents that the dataset's report lists as held out, or None if there is no report.

    Raises InvalidInputError if the report cannot be read.
    """
    folder = _folder(dataset)
    if not folder.report.is_file():
        return None
    return folder.read_report().split.documents


def _folder(dataset: Path) -> DatasetFolder:
    return DatasetFolder(dataset if dataset.is_dir() else dataset.parent)


def read_rows(path: Path) -> list[TrainingRow]:
    """Read training rows from a JSON or JSON-lines file.

    A row that has only a `text` field (as in the reference design) is split into prompt and answer.
    Raises InvalidInputError if the file has no rows. Also raises it for an invalid row, e.g. a row without an answer.
    """
    rows, problems = _parse_rows(_read_values(path), path)
    if not rows and not problems:
        problems = [f"{path}: holds no rows; make it with `insurance-rag validate`"]
    if problems:
        raise InvalidInputError(problems)
    return rows


def read_heldout_rows(path: Path) -> list[TrainingRow]:
    """Read rows like `read_rows`, but accept an empty file, because a dataset may have no held-out rows."""
    return read_rows(path) if _read_values(path) else []


def in_prompt_format(row: TrainingRow, prompt_format: str) -> TrainingRow:
    """Return the held-out row `row` with a new prompt in `prompt_format`, the format of the training rows.

    A row that lacks the `instruction`, `input` or `output` field is returned unchanged.
    """
    if row.instruction is None or row.input is None or row.output is None:
        return row
    form = PROMPT_FORMATS[prompt_format]
    prompt = form.prompt(row.instruction, row.input[: form.max_context_characters])
    return row.model_copy(update={"prompt": prompt, "completion": row.output})


def _read_values(path: Path) -> list[JsonValue]:
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    value = read_json(path)
    return value if isinstance(value, list) else [value]


def _parse_rows(values: list[JsonValue], path: Path) -> tuple[list[TrainingRow], list[str]]:
    """Return the valid rows, and one error message per kind of problem."""
    rows = []
    numbers: dict[str, list[int]] = {}
    for number, value in enumerate(values, 1):
        row = _split_text(value) if isinstance(value, dict) else {}
        missing = [key for key in ("prompt", "completion") if not str(row.get(key, "")).strip()]
        if missing:
            numbers.setdefault(f"no {' and no '.join(missing)}", []).append(number)
            continue
        try:
            rows.append(TrainingRow.model_validate(row))
        except ValidationError as e:
            first = e.errors()[0]
            numbers.setdefault(f"an invalid {first['loc'][0]} ({first['msg']})", []).append(number)
    return rows, [_row_problem(path, problem, found) for problem, found in numbers.items()]


def _row_problem(path: Path, problem: str, numbers: list[int]) -> str:
    if len(numbers) == 1:
        where = f"row {numbers[0]} has {problem}"
    else:
        where = f"{len(numbers)} rows have {problem}, the first is row {numbers[0]}"
    return f"{path}: {where}; make the file with `insurance-rag validate`"


def _split_text(row: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Split the `text` of a row without a prompt into prompt and completion. Return other rows unchanged."""
    text = row.get("text")
    if "prompt" in row or not isinstance(text, str):
        return row
    prompt, heading, completion = text.rpartition(ANSWER_HEADING)
    return {**row, "prompt": prompt + heading, "completion": completion} if heading else row
