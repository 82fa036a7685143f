"""Builds what the pages about one set show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from insurance_rag.review.pages.filters import Filters, Selection, count_facets
from insurance_rag.review.pages.texts import page_text
from insurance_rag.review.pages.view import ItemPage, ListPage, Page, SetPage, UndoTarget, view_item
from insurance_rag.review.progress import count_decisions
from insurance_rag.review.records import ReviewItem
from insurance_rag.review.store import ItemState
from review_pages.place import Place
from review_pages.presence import Presence

LINES_PER_PAGE = 100
REASONS = ("number", "evidence", "question", "incomplete")
MAX_REASONS = 12

presence = Presence()


def shared_parts(
    place: Place, page: Page, filters: Filters, selection: Selection, csrf: str, may_decide: bool, base: str
) -> SetPage:
    """Return what all pages about a set have in common. `base` is the relative URL of the set's page."""
    return SetPage(
        page=page,
        base=base,
        filters=filters,
        facets=count_facets(place.loaded.items, filters),
        progress=count_decisions(selection.base, place.store.states()),
        rule_titles=place.loaded.rule_titles,
        csrf=csrf,
        may_decide=may_decide,
    )


def item_page(place: Place, shared: SetPage, selection: Selection, key: str, *, editing: bool, done: bool) -> ItemPage:
    """Return the page about the item `key`, or about the first undecided item if there is no such item."""
    states, user = place.store.states(), shared.page.user
    others = presence.others(place.path, user)
    item = place.loaded.by_key.get(key) or _first(selection, states, others.values())
    if item is None:
        return ItemPage(shared, None)
    presence.open(place.path, user, item.key)
    before, after = selection.neighbors(item.key)
    return ItemPage(
        shared=shared,
        view=view_item(item, states.get(item.key, ItemState())),
        position=selection.position(item.key),
        total=len(selection.shown),
        previous=before.key if before else "",
        next=after.key if after else "",
        editing=editing and shared.may_decide,
        undo=_undo_target(place, item, states, user),
        viewers=[who for who, other in others.items() if other == item.key],
        reasons=_reasons(states, shared),
        done=done,
    )


def list_page(place: Place, shared: SetPage, selection: Selection, number: int) -> ListPage:
    """Return page `number` of the list of items."""
    states = place.store.states()
    pages = max(1, -(-len(selection.shown) // LINES_PER_PAGE))
    number = min(max(1, number), pages)
    start = (number - 1) * LINES_PER_PAGE
    shown = selection.shown[start : start + LINES_PER_PAGE]
    lines = [(start + n, item, states.get(item.key, ItemState())) for n, item in enumerate(shown, 1)]
    return ListPage(shared, lines, number, pages, len(selection.shown))


def next_url(place: Place, base: str, filters: Filters, selection: Selection, key: str, reviewer: str) -> str:
    """Return the URL of the page that follows a decision about the item `key`.

    It is the next undecided item that no other reviewer looks at. If the reviewer looks through decided items, it is
    the next one of those.
    """
    states = place.store.states()
    if filters.status in ("", "open"):
        busy = presence.others(place.path, reviewer).values()
        following = selection.next_undecided(key, states, busy)
    else:
        following = selection.neighbors(key)[1]
    if following:
        return f"{base}?{filters.query(item=following.key)}"
    return f"{base}?{filters.query(item=key, done=1)}"


def run_url(place: Place, home: str) -> str:
    """Return the relative URL of the run in Airflow."""
    return f"{home}../dags/{quote(place.dag_id)}/runs/{quote(place.run_id)}"


def _first(selection: Selection, states: Mapping[str, ItemState], busy: Iterable[str]) -> ReviewItem | None:
    shown = {item.key for item in selection.shown}
    undecided = Selection(selection.shown, selection.shown).next_undecided("", states, busy)
    return undecided if undecided and undecided.key in shown else next(iter(selection.shown), None)


def _undo_target(place: Place, item: ReviewItem, states: Mapping[str, ItemState], user: str) -> UndoTarget | None:
    """Return the decision about this item, or else the user's last decision in the set; None without any."""
    state = states.get(item.key, ItemState())
    if state.decision:
        return UndoTarget(item.key, state.version, own_last=False)
    own = [
        (other.sequence, key)
        for key, other in states.items()
        if key in place.loaded.by_key and (decision := other.decision) and decision.reviewer == user
    ]
    if not own:
        return None
    _, key = max(own)
    return UndoTarget(key, states[key].version, own_last=True)


def _reasons(states: Mapping[str, ItemState], shared: SetPage) -> list[str]:
    """Return reasons to propose: the usual ones, and those that reviewers gave before."""
    usual = [page_text(f"reason_{name}", shared.page.language) for name in REASONS]
    given = [state.decision.reason for state in states.values() if state.decision and state.decision.reason]
    return [*dict.fromkeys([*usual, *reversed(given)])][:MAX_REASONS]
