"""The fault `number_swapped`: a number of the chunk in the place of another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from insurance_rag.dataset.faulty_answers.numbers import (
    can_replace,
    changeable_numbers,
    numbers_elsewhere,
    replaced_everywhere,
)
from insurance_rag.dataset.faulty_answers.registry import Change, RightAnswer, fault
from insurance_rag.korean import quantities


@fault("number_swapped", title="States another number of the chunk")
def number_swapped(source: RightAnswer) -> Iterator[Sequence[Change]]:
    """Replace a number by another one of the same unit from the chunk that is in neither question nor answer."""
    known = source.given | {q.key for q in source.stated}
    in_chunk = {q.key for q in quantities(source.gold_text)}
    for old in changeable_numbers(source):
        others = {q.key: q for q in numbers_elsewhere(old, source.gold_text) if q.key not in known}
        for new in others.values():
            if old.key in in_chunk and can_replace(old, new):
                yield replaced_everywhere(source, old, new.text)
