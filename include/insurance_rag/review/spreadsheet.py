"""Writes items and decisions as CSV for Excel and other spreadsheets, and reads the edited file.

The file begins with a byte order mark, so that Excel reads Korean text correctly. A cell whose text a spreadsheet would
run as a formula gets an apostrophe in front, which the import removes.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.review.edits import effective_fields
from insurance_rag.review.imported import ImportedLine, parse_line
from insurance_rag.review.records import EDITABLE_FIELDS, ReviewItem
from insurance_rag.review.store import ItemState

FIRST = ("key", "version", "type", "shard", "rules", "status")
DECISION = ("action", "reason")
LAST = ("reviewer", "time", "chunk_ids", "chunk_text")
TEXT_NAMES = tuple(dict.fromkeys(name for names in EDITABLE_FIELDS.values() for name in names))

#: Beginning of a cell that a spreadsheet would run, also with apostrophes in front, which must survive a round trip.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n|%＝＋－＠]")
_NEUTRALIZED = re.compile(r"'+[=+\-@\t\r\n|%＝＋－＠]")
ENCODINGS = ("utf-8-sig", "cp949")
"""Encodings of CSV files that Excel writes on a Korean system."""
DELIMITERS = ",;\t"
MAX_CELL = 10_000_000


def neutralize(text: str) -> str:
    """Return the text with an apostrophe in front if a spreadsheet would run it as a formula.

    >>> neutralize("=1+1"), neutralize("보험금")
    ("'=1+1", '보험금')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def restore(cell: str) -> str:
    """Return the text that `neutralize` was given."""
    return cell[1:] if _NEUTRALIZED.match(cell) else cell


def write_csv(items: Sequence[ReviewItem], states: Mapping[str, ItemState]) -> bytes:
    """Return a CSV file with one row per item. The columns `action` and `reason` are to be filled in."""
    texts = EDITABLE_FIELDS[items[0].kind] if items else ()
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([*FIRST, *DECISION, *texts, *LAST])
    for item in items:
        state = states.get(item.key, ItemState())
        decision = state.decision
        fields = effective_fields(item, decision)
        cells = [
            item.key,
            str(state.version),
            item.type,
            item.shard,
            ", ".join(finding.rule for finding in item.findings),
            "dropped" if item.dropped else "kept",
            decision.action if decision else "",
            decision.reason if decision else "",
            *(fields.get(name, "") for name in texts),
            decision.reviewer if decision else "",
            decision.time if decision else "",
            " ".join(chunk.chunk_id for chunk in item.chunks),
            "\n\n".join(chunk.text for chunk in item.chunks),
        ]
        writer.writerow([neutralize(cell) for cell in cells])
    return buffer.getvalue().encode("utf-8-sig", "replace")


def read_csv(content: bytes, name: str) -> list[ImportedLine]:
    """Return the rows of a CSV file that `write_csv` wrote and a person filled in.

    Raises InvalidInputError if the file is not such a file. A row that cannot be read has a `problem`.
    """
    text = _decode(content, name)
    first_line = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first_line.count)
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [restore(cell).strip() for cell in next(reader, [])]
        if missing := [column for column in ("key", "version", "action", "reason") if column not in header]:
            raise InvalidInputError(
                f"{name}:1: no column {', '.join(missing)}; export the items again, keep the header"
            )
        return [_line(number, header, row) for number, row in enumerate(reader, 2) if any(row)]
    except csv.Error as e:
        raise InvalidInputError(f"{name}:{reader.line_num}: not valid CSV ({e}); export the items again") from None


def _line(number: int, header: Sequence[str], row: Sequence[str]) -> ImportedLine:
    if len(row) != len(header):
        return ImportedLine(
            number, problem=f"has {len(row)} cells instead of {len(header)}; repair the row or export again"
        )
    cells = {column: restore(cell) for column, cell in zip(header, row, strict=True)}
    texts = {column: cells[column] for column in TEXT_NAMES if column in cells}
    return parse_line(number, cells["key"], cells["version"], cells["action"], cells["reason"], texts)


def _decode(content: bytes, name: str) -> str:
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InvalidInputError(f"{name}: the encoding is unknown; save the file as CSV UTF-8")
