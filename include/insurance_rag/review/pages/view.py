"""What the templates show. Everything is computed here, so that the templates only lay it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from insurance_rag.review.edits import effective_fields
from insurance_rag.review.evidence import find_quote, split_at_quotes
from insurance_rag.review.pages.filters import Facets, Filters
from insurance_rag.review.pages.texts import Language, Theme
from insurance_rag.review.progress import ReviewProgress
from insurance_rag.review.records import EDITABLE_FIELDS, Decision, ReviewItem
from insurance_rag.review.store import ItemState

Pieces = Sequence[tuple[str, bool]]
"""A text in pieces, each with whether it is marked."""


@dataclass(frozen=True)
class Page:
    """What every page has in common."""

    language: Language
    theme: Theme
    user: str
    home: str
    """Relative URL of the page with all sets."""
    here: str = ""
    """Relative URL of this page without its query; empty for the page's own URL."""
    query: str = ""
    """Query of this page, without the language and the theme."""
    run_url: str = ""
    """Relative URL of the run in Airflow."""
    heading: str = ""


@dataclass(frozen=True)
class SetLine:
    """One set on the page with all sets."""

    kind: str
    run: str
    url: str
    items: int
    time: str
    progress: ReviewProgress | None


@dataclass(frozen=True)
class SetPage:
    """What the pages about one set have in common."""

    page: Page
    base: str
    """Relative URL of the set's page."""
    filters: Filters
    facets: Facets
    progress: ReviewProgress
    rule_titles: Mapping[str, tuple[str, str]]
    """Rule -> its title in English and Korean."""
    csrf: str
    may_decide: bool


@dataclass(frozen=True)
class FieldView:
    """A text field of an item."""

    name: str
    text: str
    pieces: Pieces
    before: str | None
    """Text before it was edited; None if it was not edited."""


@dataclass(frozen=True)
class ChunkView:
    """A chunk with its marked quotes."""

    chunk_id: str
    header: str
    pieces: Pieces


@dataclass(frozen=True)
class ItemView:
    """One item, with the decision that applies."""

    item: ReviewItem
    state: ItemState
    fields: Sequence[FieldView]
    chunks: Sequence[ChunkView]
    evidence_missing: bool
    can_approve: bool


@dataclass(frozen=True)
class UndoTarget:
    """The decision that the key `u` undoes."""

    key: str
    version: int
    own_last: bool
    """Whether it is the reviewer's last decision, about another item than the one that is shown."""


@dataclass(frozen=True)
class ItemPage:
    """The page that shows one item."""

    shared: SetPage
    view: ItemView | None
    """None if no item matches the filters."""
    position: int = 0
    total: int = 0
    previous: str = ""
    next: str = ""
    """Keys of the neighboring items; empty at the ends."""
    editing: bool = False
    undo: UndoTarget | None = None
    viewers: Sequence[str] = ()
    reasons: Sequence[str] = ()
    done: bool = False


@dataclass(frozen=True)
class ListPage:
    """The page that lists the items."""

    shared: SetPage
    lines: Sequence[tuple[int, ReviewItem, ItemState]]
    number: int
    pages: int
    total: int


@dataclass(frozen=True)
class ConflictPage:
    """The page that shows a decision that somebody else made first."""

    shared: SetPage
    item: ReviewItem
    current: ItemState
    mine: Decision
    mine_texts: Mapping[str, str] = field(default_factory=dict)


def view_item(item: ReviewItem, state: ItemState) -> ItemView:
    """Return what a page shows about an item: its present texts, and its chunks with the evidence marked."""
    decision = state.decision
    texts = effective_fields(item, decision)
    spans = [finding.span for finding in item.findings if finding.span]
    evidence = texts.get("evidence", item.evidence)
    quotes = [line for line in (evidence, *evidence.splitlines()) if line.strip()]
    found = any(find_quote(chunk.text, quote) for chunk in item.chunks for quote in quotes)
    return ItemView(
        item=item,
        state=state,
        fields=[
            FieldView(
                name, texts.get(name, ""), split_at_quotes(texts.get(name, ""), spans), _before(item, texts, name)
            )
            for name in EDITABLE_FIELDS[item.kind]
        ],
        chunks=[ChunkView(c.chunk_id, c.header, split_at_quotes(c.text, quotes)) for c in item.chunks],
        evidence_missing=bool(quotes) and bool(item.chunks) and not found,
        can_approve=not item.dropped or item.approvable or bool(decision and decision.action == "edit"),
    )


def _before(item: ReviewItem, texts: Mapping[str, str], name: str) -> str | None:
    original = item.fields.get(name, "")
    return original if original != texts.get(name, "") else None
