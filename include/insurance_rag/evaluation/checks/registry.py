"""The registry of checks. A check is a function that is decorated with `check`, in a module of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from insurance_rag.core.records import CheckInfo, RefusalLevel
from insurance_rag.core.registry import Registry


@dataclass(frozen=True)
class CheckedAnswer:
    """One answer with everything that a check may look at."""

    text: str
    """The answer; of a very long one its beginning and its end."""
    context: str
    """The chunks that the model was given."""
    question: str
    answerable: bool | None
    """Whether the context answers the question; None if that is unknown."""
    refusal: RefusalLevel
    """How much of the answer is a refusal."""
    min_support: float
    """Least share of a sentence's character bigrams that must occur in the context."""


FindSpans = Callable[[CheckedAnswer], Iterable[str]]
"""Yields the faulty parts of an answer; nothing if there is no fault."""


@dataclass(frozen=True)
class Check:
    """A rule that finds one kind of fault in an answer."""

    name: str
    title: str
    title_ko: str
    description: str
    find: FindSpans
    hallucination: bool = True
    """Whether a finding makes the answer a hallucination."""
    on_empty: bool = False
    """Whether the check looks at empty answers. All other checks skip them."""
    order: int = 1000
    """Position of the findings, ascending. Checks of other distributions come last by default."""

    @property
    def info(self) -> CheckInfo:
        """The part of the definition that is written into a summary."""
        return CheckInfo(
            title=self.title,
            title_ko=self.title_ko,
            description=self.description,
            hallucination=self.hallucination,
        )


CHECKS: Registry[Check] = Registry("check", "insurance_rag.evaluation.checks")


def check(
    name: str,
    *,
    title: str,
    title_ko: str,
    description: str,
    hallucination: bool = True,
    on_empty: bool = False,
    order: int = 1000,
) -> Callable[[FindSpans], FindSpans]:
    """Return a decorator that registers a function as a check; see `Check` for the fields.

    Raises ValueError if another check has the name.
    """

    def register(find: FindSpans) -> FindSpans:
        CHECKS.add(name, Check(name, title, title_ko, description, find, hallucination, on_empty, order))
        return find

    return register


def ordered_checks() -> list[Check]:
    """Return all checks in display order."""
    return sorted(CHECKS.entries.values(), key=lambda entry: entry.order)
