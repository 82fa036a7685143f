"""Splits Korean policy text into sentences, and checks whether a text ends with a complete sentence."""

from __future__ import annotations

import re
from typing import NamedTuple

#: Quotation marks, brackets and Markdown characters that may follow the end of a sentence.
CLOSERS = "\"'”’」』》〉)]}）］｝*`"
#: Punctuation marks that end a sentence, in ASCII and in full width.
TERMINATORS = ".?!。！？．"

#: Endings of a complete sentence: a punctuation mark, or the last syllable of a verb such as 한다, 해요 or 하죠. The
#: list comes from the reference design (docs/origin.md), except for the full-width punctuation.
ENDINGS = (".", "?", "!", "。", "．", "？", "！", "다", "요", "죠")

# A punctuation mark ends a sentence only if whitespace or the end of the text follows, possibly after closing quotes.
# The point in `4.0%` does not end one. A line break also ends a sentence, because list items often have no punctuation.
_BOUNDARY = re.compile(
    rf"(?:(?<![{re.escape(TERMINATORS)}…])[{re.escape(TERMINATORS)}…]++[{re.escape(CLOSERS)}]*+(?=\s|$))|\n"
)
# The point in a list marker at the start of a line ("1. ", "가. ") does not end a sentence.
_LIST_MARKER = re.compile(r"\s*(?:\(?\d{1,3}\)?|[가-하]|[a-zA-Z])\.$")
# Nouns and particles that end in 요 or 다, and trailing dots, which make an incomplete text look complete.
_OPEN_ENDING = re.compile(r"(?:필요|중요|주요|소요|수요|개요|마다|보다|이다음)$|(?:\.{2,}|…)$")


class Span(NamedTuple):
    """A part of a text and its position: `text == whole[start:end]`."""

    text: str
    start: int
    end: int


def sentences(text: str) -> list[Span]:
    """Split the text into sentences without surrounding whitespace. A line break also ends a sentence.

    >>> [sentence.text for sentence in sentences("1. 이율은 4.0%입니다. 지급합니다.")]
    ['1. 이율은 4.0%입니다.', '지급합니다.']
    """
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
    """Return whether the text ends with one of ENDINGS. Closing quotes and brackets at the end are ignored.

    >>> ends_as_sentence('"지급합니다."'), ends_as_sentence("보험금을")
    (True, False)
    """
    return text.rstrip().rstrip(CLOSERS + " ").endswith(ENDINGS)


def is_open_ended(text: str) -> bool:
    """Return whether the text ends with a word or with dots that only resemble the end of a sentence.

    >>> is_open_ended("진단서가 필요"), is_open_ended("1년마다"), is_open_ended("진단서가 필요합니다")
    (True, True, False)
    """
    return _OPEN_ENDING.search(text.rstrip().rstrip(CLOSERS + " ")) is not None


def cut_at_sentence(text: str, limit: int) -> str:
    """Cut the text to at most `limit` characters, if possible after a sentence.

    If sentences end in the second half of the first `limit` characters, the cut is after the last of these sentences.

    >>> cut_at_sentence("첫 문장입니다. 둘째 문장입니다. 셋째", 18)
    '첫 문장입니다. 둘째 문장입니다.'
    """
    if len(text) <= limit:
        return text
    head = text[:limit]
    ends = [m.end() for m in _BOUNDARY.finditer(text, 0, limit + 1) if m.end() <= limit]
    cut = max((end for end in ends if end > limit // 2), default=limit)
    return head[:cut].rstrip()


def cut_context(text: str, limit: int, evidence: str = "") -> str | None:
    """Return at most `limit` characters of the text that contain the evidence, or None if it does not fit.

    The result is the start of the text if the evidence is there (see `cut_at_sentence`). Otherwise, it starts at the
    first sentence from which the evidence fits. An evidence that does not occur in the text has no effect.

    >>> cut_context("첫 문장입니다. 둘째 문장입니다. 셋째 문장입니다.", 20, "셋째 문장입니다.")
    '둘째 문장입니다. 셋째 문장입니다.'
    """
    start = text.find(evidence)
    end = start + len(evidence)
    head = cut_at_sentence(text, limit)
    if not evidence or start < 0 or end <= len(head):
        return head
    begin = next((s.start for s in sentences(text) if s.start <= start and end - s.start <= limit), None)
    return None if begin is None else text[begin : max(end, begin + len(cut_at_sentence(text[begin:], limit)))]
