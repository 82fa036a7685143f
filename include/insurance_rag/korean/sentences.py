"""Sentences of Korean prose and policy clauses, and whether a text ends as one."""

from __future__ import annotations

import re
from typing import NamedTuple

CLOSERS = "\"'”’」』》〉)]}）］｝*`"
TERMINATORS = ".?!。！？．"

#: The spec's endings: full stop, question and exclamation mark, and the final syllables of 합니다 / 한다, 해요, 하죠.
ENDINGS = (".", "?", "!", "。", "．", "？", "！", "다", "요", "죠")

# A full stop ends a sentence when white space (or the end) follows its closing quotes and brackets;
# a list marker ("1. ", "가. ") at the start of a line does not, nor does a point inside a number.
_BOUNDARY = re.compile(
    rf"(?:(?<![{re.escape(TERMINATORS)}…])[{re.escape(TERMINATORS)}…]++[{re.escape(CLOSERS)}]*+(?=\s|$))|\n"
)
_LIST_MARKER = re.compile(r"\s*(?:\(?\d{1,3}\)?|[가-하]|[a-zA-Z])\.$")
# Words that end in 요 / 다 and yet leave the sentence open.
_OPEN_ENDING = re.compile(r"(?:필요|중요|주요|소요|수요|개요|마다|보다|이다음)$|(?:\.{2,}|…)$")


class Span(NamedTuple):
    """A piece of a text with its place in it."""

    text: str
    start: int
    end: int


def sentences(text: str) -> list[Span]:
    """The sentences of `text`, each without its surrounding white space; lines end sentences too."""
    found: list[Span] = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        end = match.end()
        if match.group() != "\n" and end - start < 12 and _LIST_MARKER.match(text, start, end):
            continue
        _append(found, text, start, end)
        start = end
    _append(found, text, start, len(text))
    return found


def _append(found: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    stripped = piece.strip()
    if stripped:
        at = start + piece.index(stripped)
        found.append(Span(stripped, at, at + len(stripped)))


def ends_as_sentence(text: str) -> bool:
    """The spec's rule: the text ends in `.` `?` `!` `다` `요` `죠`, closing quotes and brackets after it left aside."""
    return text.rstrip().rstrip(CLOSERS + " ").endswith(ENDINGS)


def is_open_ended(text: str) -> bool:
    """True where an ending of the spec's list is none: `... 서류가 필요`, `... 1년마다`, `... 지급하며...`."""
    return _OPEN_ENDING.search(text.rstrip().rstrip(CLOSERS + " ")) is not None


def cut_at_sentence(text: str, limit: int) -> str:
    """At most `limit` characters, ending with a whole sentence where one fits in the second half of them."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    ends = [m.end() for m in _BOUNDARY.finditer(text, 0, limit + 1) if m.end() <= limit]
    cut = max((end for end in ends if end > limit // 2), default=limit)
    return head[:cut].rstrip()
