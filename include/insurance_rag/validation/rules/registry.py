"""The registry of validation rules, and the data that rules receive.

A rule is a decorated function. Its docstring describes the fault in the rows that it drops:

    @rule("too_short", title="Answer too short", title_ko="너무 짧은 답변", repairable=True)
    def too_short(row: Row, context: RuleContext) -> str | None:
        \"""Has an answer with fewer than `min_output` characters.\"""
        return row.output if len(row.output) < context.config.min_output else None

The configuration sets the order of the rules (`ValidationConfig.rules`). Worker processes look up rules by name, so
rules from plug-in packages must be registered through the entry point group `insurance_rag.rule`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from insurance_rag.config import ValidationConfig
from insurance_rag.core.records import Chunk, RuleInfo
from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.core.registry import Registry
from insurance_rag.korean import Span, articles, known_quantities, named_levels, remove_whitespace, sentences
from insurance_rag.korean.articles import heading_articles
from insurance_rag.korean.injection import model_instructions
from insurance_rag.korean.overlap import content_bigrams
from insurance_rag.review.apply import NO_REVIEWS, RowReviews
from insurance_rag.review.records import Decision
from insurance_rag.validation.row import Row
from insurance_rag.validation.table import RowTable


@dataclass(frozen=True)
class ChunkText:
    """The text of a chunk, with cached properties for the grounding rules."""

    text: str
    """The whole text, including that of `other`."""
    other: str = ""
    """Text of a second chunk that a question needs; empty for most rows. The evidence never quotes it."""
    names: str = ""
    """Company, product and policy type of the chunk."""
    breadcrumbs: str = ""

    @cached_property
    def squeezed(self) -> str:
        """The text with all whitespace removed."""
        return remove_whitespace(self.text)

    @cached_property
    def amounts(self) -> set[tuple[float, str]]:
        """Value and unit of every quantity in the text. The words 전액 and 전부 ("in full") count as 100 %."""
        return known_quantities(self.text)

    @cached_property
    def levels(self) -> set[tuple[str, int, int | None]]:
        """Articles, paragraphs and items that the text contains or cites. `Article.levels` describes the tuples."""
        return named_levels(self.text) | {("조", number, branch) for number, branch in self.own_articles}

    @cached_property
    def own_articles(self) -> set[tuple[int, int | None]]:
        """Number and branch of the articles that the chunk consists of, by its headings or else its breadcrumbs."""
        heading = articles(self.breadcrumbs.rpartition(">")[2])[:1]
        return heading_articles(self.text) or {(a.article, a.branch) for a in heading if a.article is not None}

    @cached_property
    def sentences(self) -> list[Span]:
        """The sentences of the text. Headings, list items and rows of tables are sentences, too."""
        return sentences(self.text)

    @cached_property
    def squeezed_lines(self) -> set[str]:
        """The lines of the text, with all whitespace removed."""
        return {remove_whitespace(line) for line in self.text.splitlines()}

    @cached_property
    def content(self) -> frozenset[str]:
        """The content bigrams of the text."""
        return content_bigrams(self.text)

    @cached_property
    def model_instructions(self) -> list[str]:
        """Passages that address a language model instead of a customer."""
        return model_instructions(self.text)


def chunk_labels(chunk: Chunk) -> tuple[str, str]:
    """Return `names` and `breadcrumbs` of a chunk, as in ChunkText."""
    metadata = chunk.metadata
    product = metadata.breadcrumbs.partition(">")[0]
    return f"{metadata.company} {product} {metadata.policy_type}", metadata.breadcrumbs


@dataclass(frozen=True)
class RuleContext:
    """Data that row rules compare a row with."""

    config: ValidationConfig
    chunks: Mapping[str, ChunkText] | None = None
    """Maps chunk ids to chunk texts; None if no chunks were given."""
    leaking: frozenset[str] = frozenset()
    """Ids of chunks that nearly repeat a chunk on the other side of the split."""
    questions: frozenset[str] = frozenset()
    """Evaluation questions with all whitespace removed."""
    several_products: bool = False
    """Whether the chunks are about several products, so that a question must name its own."""
    reviews: RowReviews = NO_REVIEWS
    """What people decided about rows."""
    held_out: frozenset[str] = frozenset()
    """Ids of the chunks that are held out for the evaluation."""

    def decision(self, row: Row) -> Decision | None:
        """Return what a person decided about a row with this content; None if nobody did."""
        if not self.reviews.decisions:
            return None
        chunk = self.chunks.get(row.chunk_id) if self.chunks is not None else None
        return self.reviews.decision(row.instruction, row.output, chunk.text if chunk else row.input)

    def chunk(self, row: Row) -> ChunkText:
        """Return the chunk that the row was generated from, or the row's own `input` if the chunk is unknown.

        If the question needs a second chunk, its text is included.
        """
        known = self.chunks.get(row.chunk_id) if self.chunks is not None else None
        other = self.chunks.get(str(row.meta.get(OTHER_CHUNK_ID, ""))) if self.chunks is not None else None
        if known and other:
            return ChunkText(f"{known.text}\n\n{other.text}", other.text, known.names, known.breadcrumbs)
        return known or ChunkText(row.input)


@dataclass(frozen=True)
class CrossRowContext:
    """Data that cross-row rules receive in addition to the rows."""

    config: ValidationConfig
    product: Callable[[str], str]
    """Maps a chunk id to the name of the chunk's product, or to an empty string if the chunk is unknown."""


RowCheck = Callable[[Row, RuleContext], str | None]
"""Called with (row, context). Returns the text at fault, or None if the row passes."""
CrossRowCheck = Callable[[RowTable, NDArray[np.int64], CrossRowContext], Mapping[int, str]]
"""Called with (table, rows that no earlier rule dropped, context). Returns the rows to drop, each
mapped to the text at fault."""
RankCheck = Callable[[int, ValidationConfig], str | None]
"""Called with (rank, config). The rank, starting at 1, is the position of the row's chunk in the results of a search
for the row's question. Returns the text at fault, or None if the row passes."""


@dataclass(frozen=True)
class Rule:
    """Attributes that all kinds of rules have in common."""

    name: str
    title: str
    title_ko: str
    description: str
    repairable: bool
    """Whether the teacher can fix the fault in a second answer."""

    def info(self) -> RuleInfo:
        """Return the definition of the rule for report.json."""
        return RuleInfo(
            title=self.title, title_ko=self.title_ko, description=self.description, repairable=self.repairable
        )


@dataclass(frozen=True)
class RowRule(Rule):
    """A rule that checks one row at a time. It also checks new answers during generation if it is repairable."""

    check: RowCheck


@dataclass(frozen=True)
class CrossRowRule(Rule):
    """A rule that compares rows with each other. It sees only the rows that no earlier rule dropped."""

    check: CrossRowCheck
    needs_signatures: bool = False
    """Whether the check reads `RowTable.signatures`."""


@dataclass(frozen=True)
class RankRule(Rule):
    """A rule about the rank of a row's chunk in a search for the row's question. Runs after all other rules."""

    check: RankCheck


RULES: Registry[Rule] = Registry("rule", "insurance_rag.validation.rules")


def rule(
    name: str, *, title: str, title_ko: str, repairable: bool, description: str | None = None
) -> Callable[[RowCheck], RowCheck]:
    """Register a function as a row rule. `description` defaults to the first paragraph of the function's docstring."""

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
