"""The fault `negated`: the answer says the opposite."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from insurance_rag.dataset.faulty_answers.registry import Change, RightAnswer, fault
from insurance_rag.korean import sentences
from insurance_rag.korean.negation import negate

_WORD = re.compile(r"(?:네|예|아니요|아니오)(?=,)")
_OPPOSITE = {"네": "아니요", "예": "아니요", "아니요": "네", "아니오": "네"}


@fault("negated", title="Says the opposite")
def negated(source: RightAnswer) -> Iterator[Sequence[Change]]:
    """Negate the main predicate of a sentence, or take back its negation. A yes or no before it is turned, too."""
    for sentence in sentences(source.answer):
        change = None if "=" in sentence.text else negate(sentence.text)
        if change is None:
            continue
        at = sentence.start
        word = _WORD.match(sentence.text)
        turned = [Change(at + word.start(), at + word.end(), _OPPOSITE[word[0]])] if word else []
        yield [*turned, Change(at + change.start, at + change.end, change.text)]
