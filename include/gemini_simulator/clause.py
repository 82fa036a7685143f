"""A clause read as the statements a question can be drawn from, each with its verbatim place in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_HEADING = re.compile(r"^제\s*(\d+)\s*조(?:의\s*(\d+))?\s*[(（\[]\s*(.+?)\s*[)）\]](?=\s|$|[①-⑳])")
_SENTENCE = re.compile(r"[^\s].*?(?:다|요)\.(?=\s|$)")
_ITEM = re.compile(r"^(?:\d{1,2}\.|[가-하]\.|[-•·])\s+")
#: Words that point to another place of the clause, anywhere or at the start of a sentence.
_POINTS_ELSEWHERE = re.compile(
    r"다음(?:\s각\s?호|\s표|의|과 같|\s금액|\s사유|\s서류|\s중|\s행위|\s어느)|아래|각 호|위의"
    r"|^(?:이 경우|이때|이 때|그|이를|이는|이에|다만|단,|또한|이와)\s?"
)
#: Titles that say what the items of their list are.
_LISTS = re.compile(r"않는|않은|무효|서류|사유|손해|비용|제외|의무")
_BY_NUMBER = re.compile(r"제\s?\d+\s?항|제\s?\d+\s?호|전항|같은 항|본항")

Kind = Literal["sentence", "term", "item", "row"]


@dataclass(frozen=True)
class Statement:
    """`evidence` is a verbatim part of the clause. A term and an item have a `head`, a row its `column` and `cell`."""

    kind: Kind
    evidence: str
    head: str = ""
    column: str = ""
    cell: str = ""

    @property
    def stands_alone(self) -> bool:
        """Whether a question made of it needs nothing else of the clause."""
        return not (_POINTS_ELSEWHERE.search(self.evidence) or _BY_NUMBER.search(self.evidence))


@dataclass(frozen=True)
class Clause:
    """`article` is 제N조 (or empty), `title` what its heading says in brackets."""

    text: str
    article: str
    title: str
    statements: tuple[Statement, ...]


def read_clause(text: str) -> Clause:
    """The statements of a clause: those that stand alone, or all where none does, or its first line at least."""
    heading = _HEADING.match(text)
    article = "" if not heading else f"제{heading[1]}조" + (f"의{heading[2]}" if heading[2] else "")
    body = text[heading.end() :] if heading else text
    found = list(dict.fromkeys(_statements(body)))
    title = heading[3] if heading else ""
    told = [statement for statement in found if statement.kind != "item" or _LISTS.search(title)] or found
    kept = [statement for statement in told if statement.stands_alone] or told
    if not kept:
        first = next((line.strip() for line in body.split("\n") if line.strip()), text.strip())
        kept = [Statement("item", first, head=first)]
    return Clause(text, article, title, tuple(kept))


def _statements(body: str) -> Iterator[Statement]:
    header: list[str] = []
    for raw in body.split("\n"):
        line = raw.strip()
        if " | " in line:
            cells = [cell.strip() for cell in line.split(" | ")]
            if header:
                yield from _row(line, header, cells)
            else:
                header = cells
            continue
        header = []
        if _ITEM.match(line):
            yield from _list_item(_ITEM.sub("", line))
        else:
            yield from (Statement("sentence", sentence) for sentence in _sentences(line.lstrip("①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮ ")))


def _row(line: str, header: list[str], cells: list[str]) -> Iterator[Statement]:
    for column, cell in zip(header[1:], cells[1:], strict=False):
        if re.search(r"\d", cell) and len(cell) <= 40 and "비고" not in column:
            yield Statement("row", line, head=cells[0], column=re.sub(r"\(.*?\)", "", column).strip(), cell=cell)


def _list_item(text: str) -> Iterator[Statement]:
    term, colon, meaning = text.partition(":")
    if colon and len(term) <= 25 and len(meaning.strip()) >= 8:
        yield Statement("term", text, head=term.strip())
    elif _SENTENCE.match(text) and not re.match(r"^.{2,40}?(?<![다요])\.\s", text):
        yield from (Statement("sentence", sentence) for sentence in _sentences(text))
    elif 4 <= len(text.split(". ")[0]) <= 60:
        yield Statement("item", text, head=text.split(". ")[0].rstrip("."))


def _sentences(line: str) -> list[str]:
    """Whole sentences, a 다만 joined to the one it limits, so that no quote leaves out its exception."""
    spans = [(found.start(), found.end()) for found in _SENTENCE.finditer(line)]
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and re.match(r"다만|단,", line[start:]):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [line[start:end] for start, end in joined]
