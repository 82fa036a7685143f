"""Human annotations: write the sheet that people label, and read their labels.

`evaluate` writes labelling.csv. If there are enough answers, the sheet has equal numbers of flagged and unflagged
answers from every model. An answer is flagged if a check found a hallucination. The rows are shuffled and do not name
the model. Write yes or no in the columns `hallucinated` and `correct`, and pass the file to `evaluate` with --labels.
Labels are optional: a row may have both, one or none.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.errors import InvalidInputError, LineProblem
from insurance_rag.core.files import atomic_write
from insurance_rag.core.records import ScoredAnswer

COLUMNS = ("key", "question", "context", "reference", "answer", "hallucinated", "correct", "note")
LABEL_COLUMNS = ("hallucinated", "correct")
LABELS = {"yes": True, "y": True, "1": True, "예": True, "no": False, "n": False, "0": False, "아니요": False}
MIN_SHEET_ROWS = 120
ROWS_PER_MODEL = 40
"""Rows of the sheet per model, so that each model can have enough labels for its own sensitivity and specificity."""


@dataclass(frozen=True)
class Annotations:
    """Human labels by answer key. Answers without a label are left out."""

    hallucinated: dict[str, bool]
    """Whether the answer states something that its context does not support."""
    correct: dict[str, bool]
    """Whether the answer answers the question correctly."""


@dataclass(frozen=True)
class _Label:
    """One label in the sheet."""

    row: int
    """Row number in a spreadsheet program: the row after the column names is 2."""
    line: int
    """Last line of the row in the file."""
    key: str
    answer: tuple[str, ...]
    """What the label is about. Rows with equal values need the same label, even if their keys differ."""
    value: bool


def write_annotation_sheet(path: Path, rows: Sequence[ScoredAnswer], size: int | None = None) -> int:
    """Write the sheet and return its number of rows. A file that already exists is kept, and 0 is returned.

    An existing file may already have labels. By default, the sheet has `ROWS_PER_MODEL` rows per model, and at least
    `MIN_SHEET_ROWS`. The file is UTF-8 with a byte order mark. Without the mark, spreadsheet programs garble Korean
    text.
    """
    if path.exists():
        return 0
    size = size or max(MIN_SHEET_ROWS, ROWS_PER_MODEL * len({row.model for row in rows}))
    rng = random.Random(0)
    groups: dict[tuple[str, bool], list[ScoredAnswer]] = {}
    for row in rows:
        groups.setdefault((row.model, row.hallucinated), []).append(row)
    for group in groups.values():
        rng.shuffle(group)
    drawn: list[ScoredAnswer] = []
    while len(drawn) < size and any(groups.values()):
        drawn += [group.pop() for group in groups.values() if group]
    rng.shuffle(drawn)
    with atomic_write(path) as f:
        f.write("\ufeff")
        writer = csv.writer(f)
        writer.writerow(COLUMNS)
        for row in drawn[:size]:
            cells = (row.key, row.question, row.context, row.reference_answer or "", row.answer, "", "", "")
            writer.writerow([_cell(x) for x in cells])
    return min(size, len(drawn))


def read_annotations(path: Path) -> Annotations:
    """Return the human labels in a filled-in sheet. A key may occur several times if its labels agree.

    Raises InvalidInputError if the file cannot be read, or contains invalid or contradictory labels. Labels contradict
    each other if one key, or the same answer to the same question and context, is labeled both yes and no. The error
    lists all of them.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise InvalidInputError(f"{path}: cannot be read as UTF-8 ({e}); check the path, or save it as UTF-8") from e
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = set(reader.fieldnames or ())
    missing = {"key"} - columns or (set() if columns & set(LABEL_COLUMNS) else {"hallucinated"})
    if missing:
        raise InvalidInputError(
            f"{path}: column {', '.join(sorted(missing))} is missing; fill in the sheet that `evaluate` wrote"
        )
    labels: dict[str, list[_Label]] = {column: [] for column in LABEL_COLUMNS}
    problems = list[LineProblem]()
    for number, row in enumerate(reader, 2):
        for column in LABEL_COLUMNS:
            label = (row.get(column) or "").strip().lower()
            if label and label not in LABELS:
                problems.append(LineProblem(path, reader.line_num, f"{column} is {label!r}; write yes or no"))
            elif label:
                labels[column].append(_Label(number, reader.line_num, row["key"], _subject(row), LABELS[label]))
    for column, found in labels.items():
        problems += _contradictions(path, column, found)
    if problems:
        raise InvalidInputError(problems)
    return Annotations(**{column: {label.key: label.value for label in found} for column, found in labels.items()})


def _subject(row: dict[str, str]) -> tuple[str, ...]:
    """Return the question, the context and the answer without differences in whitespace, or only the key."""
    cells = [" ".join((row.get(column) or "").split()) for column in ("question", "context", "answer")]
    return tuple(cells) if cells[0] and cells[2] else (row["key"],)


def _contradictions(path: Path, column: str, labels: Sequence[_Label]) -> Iterator[LineProblem]:
    """Yield a problem for each label that contradicts the first label of the same key, or of the same answer."""
    first_of_key: dict[str, _Label] = {}
    first_of_answer: dict[tuple[str, ...], _Label] = {}
    words = {True: "yes", False: "no"}
    for label in labels:
        for same, first in (
            ("key", first_of_key.setdefault(label.key, label)),
            ("answer to the same question", first_of_answer.setdefault(label.answer, label)),
        ):
            if first.value is not label.value:
                yield LineProblem(
                    path,
                    label.line,
                    f"contradictory labels: {column} is {words[label.value]} in row {label.row}, but "
                    f"{words[first.value]} in row {first.row} (line {first.line}) for the same {same}; decide on one "
                    "label, or delete both",
                )
                break


def _cell(text: str) -> str:
    """Remove NUL, which breaks CSV readers. Prefix an apostrophe if a spreadsheet would run `text` as a formula."""
    text = text.replace("\x00", "")
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
