"""The registry of faults. Each fault has its own module in this package, which registers a function that inserts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import NamedTuple

from insurance_rag.core.registry import Registry
from insurance_rag.korean import Quantity, quantities


@dataclass(frozen=True)
class RightAnswer:
    """A right answer, and everything that decides whether a changed answer is wrong."""

    question: str
    answer: str
    gold: tuple[str, ...]
    """Texts of the chunks that the answer is from. The first one is the row's own chunk."""
    others: tuple[str, ...] = ()
    """Texts of the other chunks in the prompt."""

    @cached_property
    def gold_text(self) -> str:
        """The texts of the chunks that the answer is from, as one text."""
        return "\n\n".join(self.gold)

    @cached_property
    def given(self) -> frozenset[tuple[float, str]]:
        """Keys of the quantities in the question. The answer repeats them as facts of the case."""
        return frozenset(q.key for q in quantities(self.question))

    @cached_property
    def stated(self) -> Sequence[Quantity]:
        """Quantities of the answer."""
        return quantities(self.answer)


class FaultyAnswer(NamedTuple):
    """A wrong answer."""

    kind: str
    text: str
    spans: tuple[tuple[int, int], ...]
    """Start and end of every part of `text` that differs from the right answer, in order."""

    @property
    def wrong(self) -> list[str]:
        """The parts of the answer that differ from the right one."""
        return [self.text[start:end] for start, end in self.spans]


class Change(NamedTuple):
    """A change of an answer: the text from `start` to `end` becomes `text`."""

    start: int
    end: int
    text: str


Insertions = Callable[[RightAnswer], Iterator[Sequence[Change]]]
"""Function that yields every way to insert a fault. Each is a list of changes in order that do not overlap."""


@dataclass(frozen=True)
class Fault:
    """A fault that an answer can have."""

    title: str
    insertions: Insertions


FAULTS: Registry[Fault] = Registry("fault", "insurance_rag.dataset.faulty_answers")


def fault(name: str, title: str) -> Callable[[Insertions], Insertions]:
    """Return a decorator that registers a fault under `name`. `title` says in one line what is wrong."""

    def register(insertions: Insertions) -> Insertions:
        FAULTS.add(name, Fault(title, insertions))
        return insertions

    return register


def insert_fault(kind: str, source: RightAnswer, rng: Random) -> FaultyAnswer | None:
    """Return the answer with a fault of this kind, chosen at random, or None if the answer cannot have this fault."""
    found = [_apply(kind, source.answer, changes) for changes in FAULTS[kind].insertions(source)]
    wrong = [faulty for faulty in found if faulty.text != source.answer]
    return rng.choice(wrong) if wrong else None


def _apply(kind: str, answer: str, changes: Sequence[Change]) -> FaultyAnswer:
    text, end = "", 0
    spans = []
    for change in changes:
        text += answer[end : change.start] + change.text
        spans.append((len(text) - len(change.text), len(text)))
        end = change.end
    return FaultyAnswer(kind, text + answer[end:], tuple(spans))
