"""Finds the numbers of an answer that a fault can change, and numbers to put in their place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from insurance_rag.dataset.faulty_answers.registry import Change, RightAnswer
from insurance_rag.korean import Quantity, quantities
from insurance_rag.korean.calculations import is_each

_DIGIT = re.compile(r"\d")
_EACH = frozenset(["회", "일", "명", "건"])
MAX_RATIO = 50
"""Maximum ratio of two numbers that replace each other. A model does not mistake 8만원 for 7,000만원."""


def changeable_numbers(source: RightAnswer) -> Iterator[Quantity]:
    """Yield the answer's quantities that are the policy's: those of the case, 제1회 and 1회당 are left out."""
    seen = set[str]()
    for quantity in source.stated:
        ordinal = source.answer[: quantity.start].endswith("제")
        given = quantity.key in source.given or is_each(source.answer, quantity)
        if not ordinal and not given and _DIGIT.match(quantity.text) and quantity.text not in seen:
            seen.add(quantity.text)
            yield quantity


def numbers_elsewhere(old: Quantity, text: str) -> list[Quantity]:
    """Return the other quantities of the text with the unit of `old`, in digits."""
    return [q for q in quantities(text) if q.unit == old.unit and q.key != old.key and _DIGIT.match(q.text)]


def can_replace(old: Quantity, new: Quantity) -> bool:
    """Return whether `new` is of a similar size as `old`, and ends alike, so that the same particle fits.

    1회 and 1일 mostly mean "each", so they replace nothing.
    """
    if new.value == 1 and new.unit in _EACH:
        return False
    similar = max(old.value, new.value) <= MAX_RATIO * min(old.value, new.value)
    return similar and new.text[-1] == old.text[-1]


def replaced_everywhere(source: RightAnswer, old: Quantity, new: str) -> Sequence[Change]:
    """Return the changes that write `new` wherever the answer states `old` in the same words."""
    return [Change(q.start, q.end, new) for q in source.stated if q.text == old.text]
