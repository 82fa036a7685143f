"""Parses a chunk's text into statements: verbatim passages that questions can be built from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_HEADING = re.compile(r"^제\s*(\d+)\s*조(?:의\s*(\d+))?\s*[(（\[]\s*(.+?)\s*[)）\]](?=\s|$|[①-⑳])")
_SENTENCE = re.compile(r"[^\s].*?(?:다|요)\.(?=\s|$)")
_LIST_MARKER = re.compile(r"^(?:\d{1,2}\.|[가-하]\.|[-•·])\s+")
#: Words that refer to another passage of the chunk. The first line of the pattern matches anywhere in a statement. The
#: second line matches only at the start of a statement.
_REFERS_ELSEWHERE = re.compile(
    r"다음(?:\s각\s?호|\s표|의|과 같|\s금액|\s사유|\s서류|\s중|\s행위|\s어느)|아래|각 호|위의"
    r"|^(?:이 경우|이때|이 때|그|이를|이는|이에|다만|단,|또한|이와)\s?"
)
#: Words in a chunk's title that show what the chunk lists, e.g. exclusions, documents or costs.
_LIST_TITLE = re.compile(r"않는|않은|무효|서류|사유|손해|비용|제외|의무")
_REFERS_BY_NUMBER = re.compile(r"제\s?\d+\s?항|제\s?\d+\s?호|전항|같은 항|본항")

StatementKind = Literal["sentence", "term", "item", "row"]


@dataclass(frozen=True)
class Statement:
    """A passage from a chunk. `evidence` is its verbatim text.

    The content of `head` depends on `kind`. For `term`, it is the defined term; for `item`, the start of the list item;
    for `row`, the first cell of the table row. Only rows have a `column` and a `cell`.
    """

    kind: StatementKind
    evidence: str
    head: str = ""
    column: str = ""
    cell: str = ""

    @property
    def is_self_contained(self) -> bool:
        """Whether a question about this statement can be understood without the rest of the chunk."""
        return not (_REFERS_ELSEWHERE.search(self.evidence) or _REFERS_BY_NUMBER.search(self.evidence))


@dataclass(frozen=True)
class ParsedChunk:
    """A chunk and its statements.

    `article` (e.g. 제7조) and `title` come from the chunk's heading; both are empty if there is no heading.
    """

    text: str
    article: str
    title: str
    statements: tuple[Statement, ...]


def parse_chunk(text: str) -> ParsedChunk:
    """Parse a chunk into at least one statement.

    Statements that are not self-contained are dropped, unless no other statements exist. If no statement is found, the
    first line below the heading becomes the only statement.
    """
    heading = _HEADING.match(text)
    article = "" if not heading else f"제{heading[1]}조" + (f"의{heading[2]}" if heading[2] else "")
    body = text[heading.end() :] if heading else text
    found = list(dict.fromkeys(_statements(body)))
    title = heading[3] if heading else ""
    # An item such as "전쟁" (war) makes sense only under a title that says what the list contains.
    usable = [statement for statement in found if statement.kind != "item" or _LIST_TITLE.search(title)] or found
    kept = [statement for statement in usable if statement.is_self_contained] or usable
    if not kept:
        first = next((line.strip() for line in body.split("\n") if line.strip()), text.strip())
        kept = [Statement("item", first, head=first)]
    return ParsedChunk(text, article, title, tuple(kept))


def _statements(body: str) -> Iterator[Statement]:
    """Yield the statements of the text, line by line.

    Adjacent lines that contain ` | ` form a table. The first line of a table is its header.
    """
    header: list[str] = []
    for raw in body.split("\n"):
        line = raw.strip()
        if " | " in line:
            cells = [cell.strip() for cell in line.split(" | ")]
            if header:
                yield from _table_row(line, header, cells)
            else:
                header = cells
            continue
        header = []
        if _LIST_MARKER.match(line):
            yield from _list_item(_LIST_MARKER.sub("", line))
        else:
            yield from (Statement("sentence", sentence) for sentence in _sentences(line.lstrip("①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮ ")))


def _table_row(line: str, header: list[str], cells: list[str]) -> Iterator[Statement]:
    """Yield a statement for each short cell that contains a number, except in the remarks column (비고)."""
    for column, cell in zip(header[1:], cells[1:], strict=False):
        if re.search(r"\d", cell) and len(cell) <= 40 and "비고" not in column:
            yield Statement("row", line, head=cells[0], column=re.sub(r"\(.*?\)", "", column).strip(), cell=cell)


def _list_item(text: str) -> Iterator[Statement]:
    """Yield the statements of a list item.

    An item of the form `term: meaning` is one definition. An item with full sentences gives one statement per sentence.
    A short phrase is one statement.
    """
    term, colon, meaning = text.partition(":")
    if colon and len(term) <= 25 and len(meaning.strip()) >= 8:
        yield Statement("term", text, head=term.strip())
    elif _SENTENCE.match(text) and not re.match(r"^.{2,40}?(?<![다요])\.\s", text):
        yield from (Statement("sentence", sentence) for sentence in _sentences(text))
    elif 4 <= len(text.split(". ")[0]) <= 60:
        yield Statement("item", text, head=text.split(". ")[0].rstrip("."))


def _sentences(line: str) -> list[str]:
    """Split a line into sentences.

    A sentence that starts with 다만 or 단 states an exception to the sentence before it, so the two are kept together.
    A quote without the exception would misstate the policy.
    """
    spans = [(found.start(), found.end()) for found in _SENTENCE.finditer(line)]
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and re.match(r"다만|단,", line[start:]):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [line[start:end] for start, end in joined]
