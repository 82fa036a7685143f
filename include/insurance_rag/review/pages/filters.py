"""Selects the items that a reviewer wants to see, and finds the next one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from urllib.parse import parse_qsl, urlencode

from insurance_rag.review.records import ReviewItem
from insurance_rag.review.store import ItemState

NO_RULE = "-"
"""Value of the filter for items in which no rule found anything."""
STATUSES = ("open", "decided", "approve", "edit", "reject", "mine")
OUTCOMES = ("kept", "dropped", "all")

States = Mapping[str, ItemState]


@dataclass(frozen=True)
class Filters:
    """What a reviewer wants to see. The fields are named like the parameters in the URL."""

    show: str = ""
    """One of OUTCOMES; empty for kept items, or for all items if every item was dropped."""
    rule: str = ""
    type: str = ""
    shard: str = ""
    status: str = ""
    """One of STATUSES; empty for any."""
    q: str = ""
    """Text that the item contains."""

    def query(self, **extra: object) -> str:
        """Return the filters and further parameters as the query of a URL, without empty values."""
        values = {**asdict(self), **extra}
        return urlencode({name: str(value) for name, value in values.items() if value not in ("", None, False)})

    @classmethod
    def parse(cls, query: str) -> Filters:
        """Return the filters in the query of a URL. Other parameters are ignored."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in parse_qsl(query) if name in known})


@dataclass(frozen=True)
class Selection:
    """The items that match the filters."""

    base: Sequence[ReviewItem]
    """Items that match all filters except the status. The progress is counted over them."""
    shown: Sequence[ReviewItem]
    """Items that match all filters."""

    def position(self, key: str) -> int:
        """Return the number of the item among the shown ones, from 1; 0 if it is not shown."""
        return next((n for n, item in enumerate(self.shown, 1) if item.key == key), 0)

    def neighbors(self, key: str) -> tuple[ReviewItem | None, ReviewItem | None]:
        """Return the shown items before and after an item, which may have left the selection by a decision."""
        places = {item.key: n for n, item in enumerate(self.base)}
        here = places.get(key, -1)
        before = [item for item in self.shown if places[item.key] < here]
        after = [item for item in self.shown if places[item.key] > here]
        return (before[-1] if before else None), (after[0] if after else None)

    def next_undecided(self, key: str, states: States, busy: Iterable[str] = ()) -> ReviewItem | None:
        """Return the next item without a decision after `key`, starting over at the end; None if there is none.

        Items in `busy`, which other reviewers look at, come last.
        """
        places = {item.key: n for n, item in enumerate(self.base)}
        start = places.get(key, -1) + 1
        ordered = [*self.base[start:], *self.base[:start]]
        undecided = [item for item in ordered if not decided(item, states) and item.key != key]
        occupied = set(busy)
        return next((item for item in undecided if item.key not in occupied), undecided[0] if undecided else None)


@dataclass(frozen=True)
class Facets:
    """The values that a filter can have, each with the number of items."""

    rules: Mapping[str, int]
    types: Mapping[str, int]
    shards: Mapping[str, int]
    outcomes: Mapping[str, int]
    outcome: str
    """The outcome that is shown."""


def decided(item: ReviewItem, states: States) -> bool:
    """Return whether there is a decision about the item."""
    state = states.get(item.key)
    return state is not None and state.decision is not None


def select(items: Sequence[ReviewItem], states: States, filters: Filters, reviewer: str) -> Selection:
    """Return the items that match the filters, in the order of the set."""
    filters = with_default_outcome(items, filters)
    base = [item for item in items if _matches(item, states, filters)]
    wanted = _status_test(filters.status, states, reviewer)
    return Selection(base, [item for item in base if wanted(item)])


def with_default_outcome(items: Sequence[ReviewItem], filters: Filters) -> Filters:
    """Return the filters with an outcome. Without any kept item, dropped items are shown as well."""
    if filters.show in OUTCOMES:
        return filters
    return replace(filters, show="all" if all(item.dropped for item in items) else "kept")


def count_facets(items: Sequence[ReviewItem], filters: Filters) -> Facets:
    """Return the values of the filters. The values of all but the outcome are counted over the shown outcome."""
    outcome = with_default_outcome(items, filters).show
    shown = [item for item in items if _has_outcome(item, outcome)]
    rules = Counter(rule for item in shown for rule in rules_of(item))
    return Facets(
        rules=dict(rules.most_common()),
        types=dict(Counter(item.type for item in shown if item.type).most_common()),
        shards=dict(sorted(Counter(item.shard for item in shown if item.shard).items())),
        outcomes={name: sum(_has_outcome(item, name) for item in items) for name in OUTCOMES},
        outcome=outcome,
    )


def rules_of(item: ReviewItem) -> list[str]:
    """Return the rules that found something in the item, or NO_RULE."""
    return [*dict.fromkeys(finding.rule for finding in item.findings)] or [NO_RULE]


def _has_outcome(item: ReviewItem, outcome: str) -> bool:
    return outcome == "all" or item.dropped == (outcome == "dropped")


def _matches(item: ReviewItem, states: States, filters: Filters) -> bool:
    return (
        _has_outcome(item, filters.show)
        and (not filters.rule or filters.rule in rules_of(item))
        and filters.type in ("", item.type)
        and filters.shard in ("", item.shard)
        and (not filters.q or filters.q.casefold() in _text(item, states))
    )


def _text(item: ReviewItem, states: States) -> str:
    """Return the text that a search looks at: the item's texts before and after an edit, and its chunk ids."""
    state = states.get(item.key)
    edited = state.decision.fields.values() if state and state.decision else ()
    return "\n".join([*item.fields.values(), *edited, *(chunk.chunk_id for chunk in item.chunks)]).casefold()


def _status_test(status: str, states: States, reviewer: str) -> Callable[[ReviewItem], bool]:
    def test(item: ReviewItem) -> bool:
        decision = states.get(item.key, ItemState()).decision
        if status == "open":
            return decision is None
        if status == "mine":
            return decision is not None and decision.reviewer == reviewer
        if status == "decided":
            return decision is not None
        return status not in STATUSES or (decision is not None and decision.action == status)

    return test
