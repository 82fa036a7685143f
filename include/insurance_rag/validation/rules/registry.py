"""The registry of validation rules, and what a rule gets to see.

A rule is a function with a decorator; its docstring says what a row that it drops does wrong:

    @rule("too_short", title="Answer too short", title_ko="너무 짧은 답변", repairable=True)
    def too_short(row: Row, context: RuleContext) -> str | None:
        \"""Answers with fewer characters than `min_output`.\"""
        return row.output if len(row.output) < context.config.min_output else None

The order of the rules is configuration (`ValidationConfig.rules`). Worker processes look up rules by name, so a rule of
another distribution must be registered through the entry point group of its kind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from insurance_rag.config import ValidationConfig
from insurance_rag.core.records import RuleInfo
from insurance_rag.core.registry import Registry
from insurance_rag.korean import named_levels, quantities, remove_whitespace
from insurance_rag.validation.row import Row
from insurance_rag.validation.table import RowTable


@dataclass(frozen=True)
class ChunkText:
    """The text of a chunk with what the grounding rules look up in it, computed once."""

    text: str

    @cached_property
    def squeezed(self) -> str:
        """The text without whitespace."""
        return remove_whitespace(self.text)

    @cached_property
    def amounts(self) -> set[tuple[float, str]]:
        """Value and unit of every number; "in full" counts as 100 %."""
        stated = {q.key for q in quantities(self.text)}
        return stated | {(100.0, "%")} if "전액" in self.text or "전부" in self.text else stated

    @cached_property
    def levels(self) -> set[tuple[str, int, int | None]]:
        """Articles, paragraphs and items that the text contains or cites."""
        return named_levels(self.text)


@dataclass(frozen=True)
class RuleContext:
    """What row rules compare a row with."""

    config: ValidationConfig
    chunks: Mapping[str, ChunkText] | None = None
    """Chunk id -> text; None if no chunks were given."""
    leaking: frozenset[str] = frozenset()
    """Ids of chunks that repeat a gold chunk of the evaluation."""
    questions: frozenset[str] = frozenset()
    """Evaluation questions without whitespace."""

    def chunk(self, row: Row) -> ChunkText:
        """Return the chunk that the row was generated from; the row's own input if the chunk is unknown."""
        known = self.chunks.get(row.chunk_id) if self.chunks is not None else None
        return known or ChunkText(row.input)


@dataclass(frozen=True)
class CrossRowContext:
    """What cross-row rules know in addition to the rows."""

    config: ValidationConfig
    product: Callable[[str], str]
    """Chunk id -> name of its product; empty if unknown."""


RowCheck = Callable[[Row, RuleContext], str | None]
"""Returns the text at fault, or None if the row passes."""
CrossRowCheck = Callable[[RowTable, NDArray[np.int64], CrossRowContext], Mapping[int, str]]
"""(table, rows that no earlier rule dropped, context) -> dropped row -> the text at fault."""
RankCheck = Callable[[int, ValidationConfig], str | None]
"""(rank of the row's chunk for its question, 1 is best; config) -> the text at fault, or None if the row passes."""


@dataclass(frozen=True)
class Rule:
    """What all kinds of rules have in common."""

    name: str
    title: str
    title_ko: str
    description: str
    repairable: bool
    """Whether a second answer of the teacher can fix the fault."""

    def info(self) -> RuleInfo:
        """Return the definition for report.json."""
        return RuleInfo(
            title=self.title, title_ko=self.title_ko, description=self.description, repairable=self.repairable
        )


@dataclass(frozen=True)
class RowRule(Rule):
    """A rule that looks at one row. Runs on several processes, and on new answers during generation."""

    check: RowCheck


@dataclass(frozen=True)
class CrossRowRule(Rule):
    """A rule that compares rows. It sees the rows that no earlier rule dropped."""

    check: CrossRowCheck
    needs_signatures: bool = False
    """Whether the check reads `RowTable.signatures`."""


@dataclass(frozen=True)
class RankRule(Rule):
    """A rule about the rank of a row's chunk in the search for its question. Runs after all other kinds."""

    check: RankCheck


RULES: Registry[Rule] = Registry("rule", "insurance_rag.validation.rules")


def rule(
    name: str, *, title: str, title_ko: str, repairable: bool, description: str | None = None
) -> Callable[[RowCheck], RowCheck]:
    """Register a function as a row rule. `description` defaults to the first paragraph of its docstring."""

    def register(check: RowCheck) -> RowCheck:
        RULES.add(name, RowRule(name, title, title_ko, description or _first_paragraph(check), repairable, check))
        return check

    return register


def cross_row_rule(
    name: str, *, title: str, title_ko: str, description: str | None = None, needs_signatures: bool = False
) -> Callable[[CrossRowCheck], CrossRowCheck]:
    """Register a function as a cross-row rule. `description` defaults to the first paragraph of its docstring."""

    def register(check: CrossRowCheck) -> CrossRowCheck:
        text = description or _first_paragraph(check)
        RULES.add(name, CrossRowRule(name, title, title_ko, text, False, check, needs_signatures))
        return check

    return register


def rank_rule(
    name: str, *, title: str, title_ko: str, description: str | None = None
) -> Callable[[RankCheck], RankCheck]:
    """Register a function as a rank rule. `description` defaults to the first paragraph of its docstring."""

    def register(check: RankCheck) -> RankCheck:
        RULES.add(name, RankRule(name, title, title_ko, description or _first_paragraph(check), False, check))
        return check

    return register


def _first_paragraph(function: Callable[..., object]) -> str:
    paragraph = (inspect.getdoc(function) or "").partition("\n\n")[0]
    return " ".join(paragraph.split())
