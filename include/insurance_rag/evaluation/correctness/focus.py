"""Focus: an answer must answer the question, not recite the chunk and leave the search to the reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.korean import Span, advertising, foreign_tail, prompt_echo, remove_whitespace, repetition, sentences

REPEATED_CHARACTERS = 20
"""A text of this length, without spaces, that occurs twice is a repetition."""
STEP = 5
_QUESTION = re.compile(r"(?:\?|(?:나요|까요|가요|습니까|ㅂ니까|입니까|됩니까)[.!?\s]*)$")
_GARBLED = re.compile("[\ufffd\x00-\x08\x0b-\x1f\x7f]+")
MAX_SENTENCES = 6
"""Most sentences of an answer; longer references allow twice their own number. Lines of a list count as sentences. The
longest correct answer among the labeled ones has 3."""
MAX_COPIED = 3
"""Most sentences or lines that an answer may copy from the chunks word by word. Longer references allow more."""
MIN_COPIED_CHARACTERS = 8
MAX_QUOTED_CHARACTERS = 60


def find_degenerate_text(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the answer contains a foreign tail, advertising, an echo of the prompt or a loop."""
    known = (*expected.gold_texts, expected.context, expected.question)
    garbled = _GARBLED.search(answer)
    found = (
        Span(garbled.group(), *garbled.span()) if garbled else None,
        foreign_tail(answer, *known),
        advertising(answer, *known),
        prompt_echo(answer, expected.question),
        repetition(answer),
    )
    for span in found:
        if span:
            yield CorrectnessProblem(kind="focus", text=span.text[:MAX_QUOTED_CHARACTERS])
            return


def find_questions_and_repeats(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the answer ends with a question, or says the same words twice."""
    last = sentences(answer)[-1].text
    if _QUESTION.search(last):
        yield CorrectnessProblem(kind="focus", text=last[-MAX_QUOTED_CHARACTERS:])
        return
    text = remove_whitespace(answer)
    for start in range(0, len(text) - 2 * REPEATED_CHARACTERS, STEP):
        piece = text[start : start + REPEATED_CHARACTERS]
        if piece in text[start + REPEATED_CHARACTERS :]:
            yield CorrectnessProblem(kind="focus", text=piece)
            return


def find_lack_of_focus(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the answer is much longer than needed, or copies a heading or many sentences of a chunk."""
    said = [remove_whitespace(sentence.text) for sentence in sentences(answer)]
    wanted = len(sentences(expected.reference or ""))
    if len(said) > max(MAX_SENTENCES, 2 * wanted):
        yield CorrectnessProblem(kind="focus", text=f"{len(said)} > {max(MAX_SENTENCES, 2 * wanted)}")
        return
    lines = _lines((*expected.gold_texts, expected.context))
    copied = [text for text in said if len(text) >= MIN_COPIED_CHARACTERS and text in lines]
    if len(copied) > max(MAX_COPIED, wanted) or any(text in _headings(expected.gold_texts) for text in said):
        yield CorrectnessProblem(kind="focus", text=" ".join(copied)[:MAX_QUOTED_CHARACTERS])


@lru_cache(2_000)
def _lines(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(remove_whitespace(sentence.text) for text in texts for sentence in sentences(text))


def _headings(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(remove_whitespace(text.split("\n", 1)[0]) for text in texts if "\n" in text)
