"""The fault `number_invented`: a number that is not in the context."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from insurance_rag.dataset.faulty_answers.numbers import changeable_numbers, replaced_everywhere
from insurance_rag.dataset.faulty_answers.registry import Change, RightAnswer, fault
from insurance_rag.korean import Quantity, quantities, unsupported_quantities

_NUMBER = re.compile(r"\d[\d,]*(?![\d.])")
_GROUPED = 1000
"""From this number on, thousands are separated by commas."""
MYRIAD = 10_000
"""This number of 만 is 1억, and written as such."""
SMALL, LARGE = 10, 100
"""Numbers below SMALL become the next ones, those below LARGE also ones that are 5 or 10 away."""


@fault("number_invented", title="States a number that is not in the context")
def number_invented(source: RightAnswer) -> Iterator[Sequence[Change]]:
    """Replace a number by one of similar size that no text of the prompt states, and that cannot be calculated."""
    texts = (*source.gold, *source.others)
    known = source.given | {q.key for text in (*texts, source.answer) for q in quantities(text)}
    for old in changeable_numbers(source):
        for text in _similar(old):
            key = next((q.key for q in quantities(text)), None)
            if key is None or key in known or key[1] != old.unit:
                continue
            changes = replaced_everywhere(source, old, text)
            changed = source.answer[: changes[0].start] + text + source.answer[changes[0].end :]
            if any(q.key == key for q in unsupported_quantities(changed, *texts, question=source.question)):
                yield changes


def _similar(old: Quantity) -> Iterator[str]:
    """Yield the quantity with other numbers of similar size: 90일 with 30, 45, 60, 120, 180 and 270."""
    match = _NUMBER.match(old.text)
    if match is None:
        return
    value, rest = int(match[0].replace(",", "")), old.text[match.end() :]
    scaled = {value * a // b for a, b in ((1, 3), (1, 2), (2, 3), (4, 3), (3, 2), (2, 1), (3, 1)) if value * a % b == 0}
    steps = (-1, 1, 2) if value < SMALL else (-10, -5, 5, 10) if value < LARGE else ()
    near = {value + step for step in steps}
    for number in sorted((scaled | near) - {value}):
        too_large = number >= (100 if old.unit == "%" else MYRIAD if rest.startswith("만") else math.inf)
        if number > 1 and not too_large:
            yield (f"{number:,}" if number >= _GROUPED else str(number)) + rest
