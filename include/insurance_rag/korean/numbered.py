"""Numbers the sentences of a text, so that a language model can cite them by number, and turns numbers into quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from insurance_rag.korean.sentences import Span, sentences

MAX_QUOTE_CHARACTERS = 600
"""Limit for a quote that includes sentences between the cited ones."""

_MARK = re.compile(r"(?<!\S)\[\d{1,4}\](?: |$)")
_CITATION = re.compile(r"(?<!\S)\[\d{1,4}\] |\s?\[\d{1,4}\]")


def number_sentences(text: str) -> str:
    """Insert the mark `[k] ` before each sentence, where k counts from 1. Nothing else changes.

    >>> number_sentences("제7조(지급)\\n① 지급합니다. 다만, 제외합니다.")
    '[1] 제7조(지급)\\n[2] ① 지급합니다. [3] 다만, 제외합니다.'
    """
    pieces: list[str] = []
    end = 0
    for number, sentence in enumerate(sentences(text), 1):
        pieces += [text[end : sentence.start], f"[{number}] ", sentence.text]
        end = sentence.end
    return "".join([*pieces, text[end:]])


def strip_marks(text: str) -> str:
    """Remove the marks of `number_sentences` from a text, e.g. from a quote that includes them.

    A text can contain such marks of its own, such as footnotes. Search for a quote as it is before stripping it.

    >>> strip_marks("[2] ① 지급합니다. [3] 다만, [별표 1]은 제외합니다.")
    '① 지급합니다. 다만, [별표 1]은 제외합니다.'
    """
    return _MARK.sub("", text)


def remove_citations(text: str, chunk_text: str) -> str:
    """Remove sentence numbers in brackets from a question or an answer, unless the chunk itself contains them.

    >>> remove_citations("제7조에 따르면 [2] 지급합니다 [3].", "지급합니다.")
    '제7조에 따르면 지급합니다.'
    """
    return _CITATION.sub(lambda found: found[0] if found[0].strip() in chunk_text else "", text)


def quote(text: str, numbers: Sequence[int]) -> str:
    """Return the verbatim part of `text` that contains the sentences with these numbers; empty if none is valid.

    The part extends from the first to the last sentence. If it skips sentences and exceeds MAX_QUOTE_CHARACTERS, only
    the contiguous sentences around the first given number are returned. Numbers of no sentence are ignored.

    >>> quote("하나입니다. 둘입니다. 셋입니다.", [2, 3, 9])
    '둘입니다. 셋입니다.'
    """
    found = sentences(text)
    valid = [number for number in numbers if 1 <= number <= len(found)]
    if not valid:
        return ""
    whole = _between(text, found, valid)
    run = _contiguous_run(valid[0], set(valid))
    return whole if len(whole) <= MAX_QUOTE_CHARACTERS else _between(text, found, run)


def _between(text: str, found: Sequence[Span], numbers: Iterable[int]) -> str:
    ordered = sorted(numbers)
    return text[found[ordered[0] - 1].start : found[ordered[-1] - 1].end]


def _contiguous_run(number: int, numbers: set[int]) -> range:
    """Return the longest range that contains `number` and only elements of `numbers`."""
    first = last = number
    while first - 1 in numbers:
        first -= 1
    while last + 1 in numbers:
        last += 1
    return range(first, last + 1)
