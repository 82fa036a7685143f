"""The registry of checks. A check is a function decorated with `check` in any module of this package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from insurance_rag.core.records import CheckInfo, RefusalLevel
from insurance_rag.core.registry import Registry
from insurance_rag.evaluation.checks.passages import Passages, passages_of
from insurance_rag.evaluation.correctness.roles import Binding, bindings
from insurance_rag.korean.statements import Statement, analyze

NAME_MARGIN = 0.1
"""A product is named if the question contains this much more of its name than of any other name in the context."""
_CHUNK_SEPARATOR = re.compile(r"\n[ \t]*\n\s*")


class ShownChunk(NamedTuple):
    """A chunk of the context."""

    text: str
    products: tuple[str, ...] = ()
    """Products whose policies contain the chunk; empty if unknown."""


@dataclass(frozen=True)
class CheckedAnswer:
    """One answer and all other data that checks may use."""

    text: str
    """Text of the answer. A very long answer is reduced to its beginning and its end."""
    context: str
    """Text of the chunks that the model was given."""
    question: str
    answerable: bool | None
    """Whether the context answers the question; None if that is unknown."""
    refusal: RefusalLevel
    """Whether the answer is a full refusal, a partial refusal, or no refusal."""
    min_support: float
    """Minimum fraction of a sentence's character bigrams that must occur in the context or the question."""

    unsupported: tuple[str, ...] = ()
    """Sentences of the answer that a trained verifier found unsupported."""
    shown: tuple[ShownChunk, ...] = ()
    """The chunks of the context with their products, if these are known."""

    @cached_property
    def chunk_texts(self) -> tuple[str, ...]:
        """Texts of all chunks."""
        return tuple(chunk.text for chunk in self.shown) or tuple(_CHUNK_SEPARATOR.split(self.context.strip()))

    @cached_property
    def chunks(self) -> tuple[str, ...]:
        """Texts of the chunks, without those of other products than the one that the question names."""
        shown = self.shown or tuple(ShownChunk(text) for text in self.chunk_texts)
        return tuple(chunk.text for chunk in of_named_product(shown, self.question))

    @cached_property
    def passages(self) -> Passages:
        """The statements of the context."""
        return passages_of(self.chunks)

    @cached_property
    def known_roles(self) -> Mapping[Binding, frozenset[str]]:
        """The parties that have a role for a predicate anywhere in the context."""
        return bindings(self.context)

    @cached_property
    def statements(self) -> list[Statement]:
        """The statements of the answer."""
        return analyze(self.text)


FindSpans = Callable[[CheckedAnswer], Iterable[str]]
"""A function that yields the faulty parts of an answer, or nothing if the answer has no fault."""


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
    """Whether the check also runs on empty answers."""
    order: int = 1000
    """Sort key of the check and its findings, lowest first. By default, checks from plug-in packages come last."""

    @property
    def info(self) -> CheckInfo:
        """The fields that are written into an evaluation summary."""
        return CheckInfo(
            title=self.title,
            title_ko=self.title_ko,
            description=self.description,
            hallucination=self.hallucination,
        )


def of_named_product(chunks: Sequence[ShownChunk], question: str) -> Sequence[ShownChunk]:
    """Return the chunks of the product that the question names, or all chunks if it names none of them.

    Policies of related products contain similar articles with other numbers. A number of another product is wrong.
    """
    names = {name: _bigrams(name) for chunk in chunks for name in chunk.products}
    asked = _bigrams(question)
    shares = sorted(
        ((len(bigrams & asked) / len(bigrams), name) for name, bigrams in names.items() if bigrams), reverse=True
    )
    if len(shares) < 2 or shares[0][0] < shares[1][0] + NAME_MARGIN:
        return chunks
    return [chunk for chunk in chunks if not chunk.products or shares[0][1] in chunk.products]


def _bigrams(text: str) -> set[str]:
    return {word[i : i + 2] for word in text.split() for i in range(len(word) - 1)}


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
    """Return a decorator that registers a function as a check. See `Check` for the parameters.

    The decorator raises ValueError if the name is taken.
    """

    def register(find: FindSpans) -> FindSpans:
        CHECKS.add(name, Check(name, title, title_ko, description, find, hallucination, on_empty, order))
        return find

    return register


def ordered_checks() -> list[Check]:
    """Return all checks in display order."""
    return sorted(CHECKS.entries.values(), key=lambda entry: entry.order)
