"""Finds headers, footers, page numbers and side labels: text at the edge of pages that several pages repeat."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from insurance_rag.ingest.document import Removed, RemovedReason
from insurance_rag.ingest.readers.pdf_layout.segments import Page, Segment

ZONE = 0.2
"""Share of the height of a page at the top and at the bottom where headers and footers are looked for."""
MAX_LINES = 4
"""Maximum number of lines of a header or a footer."""
SAME_PLACE = 3.0
"""Lines whose positions differ by less than this, in points, are at the same place of their pages."""
SLOT_SHARE = 0.6
"""If this share of the lines at one place is repeated text, all lines at this place are headers or footers."""
APART_SHARE = 0.25
"""The same for lines that a wide space separates from the text."""
APART = 2.2
"""Minimum distance between a header and the text, in font sizes of the header, to be separated."""
MAX_CHARACTERS = 40
"""A longer line is text unless other pages repeat it."""
NEARBY = 2
"""A header is repeated on the next page, or on the page after it if left and right pages differ."""
COMMON = 0.2
"""Text on at least this share of the pages is a header wherever the pages are."""

PAGE_NUMBER = re.compile(
    r"^[\s\-–—―─~|<(\[∙·ㆍ•]*(?:p(?:age|\.)?\s*)?(?P<number>\d{1,4}|[ivxlc]{1,7})"
    r"\s*(?P<total>(?:/|of)\s*\d{1,4})?\s*(?:쪽|페이지|page)?[\s\-–—―─~|>)\]∙·ㆍ•]*$",
    re.IGNORECASE,
)
_DECORATED = re.compile(r"^\s*[\-–—―─~|∙·ㆍ•]\s*\d{1,4}\s*[\-–—―─~|∙·ㆍ•]\s*$")
# Headings of articles and items are at the same place of many pages, for example at the top of each special clause.
_BODY = re.compile(
    r"^\s*(?:제\s*\d+\s*조|[①-⑳㉠-㉻❶-❿]|\d{1,2}\s?[.)]\s*\S|\(\d{1,2}\)|[가-하]\.\s|[<【\[]\s?(?:별|부)\s?표)"
)
_DIGITS = re.compile(r"\d+")

Zone = Literal["top", "bottom"]


@dataclass
class _Row:
    """The segments of a page with one baseline."""

    segments: list[Segment]
    place: float
    """Distance of the baseline from the top of the page, or from the bottom if the row is near the bottom."""
    apart: bool
    """Whether a wide space is between the row and the other rows of the page."""

    @property
    def text(self) -> str:
        return " ".join(s.text for s in self.segments)


def remove_margins(pages: Sequence[Page]) -> list[Removed]:
    """Remove headers, footers, page numbers and side labels from the pages. Returns what was removed."""
    removed: list[Removed] = []
    known: set[str] = set()
    for zone in ("top", "bottom"):
        for _ in range(MAX_LINES):
            rows = {page.number: row for page in pages if (row := _outer_row(page, zone)) is not None}
            found = _repeated(rows, len(pages), zone)
            known |= {_normal(row.text) for row in found.values()}
            for page in pages:
                if row := found.get(page.number):
                    removed.append(Removed(row.text, page.number, _reason(row.text, zone)))
                    _drop(page, row.segments)
            if not found:
                break
    removed += _side_labels(pages, known)
    return sorted(removed, key=lambda r: r.page)


def _drop(page: Page, segments: Sequence[Segment]) -> None:
    dropped = set(segments)
    page.segments = [s for s in page.segments if s not in dropped]


def _reason(text: str, zone: Zone) -> RemovedReason:
    if PAGE_NUMBER.match(text):
        return "page_number"
    return "header" if zone == "top" else "footer"


def _outer_row(page: Page, zone: Zone) -> _Row | None:
    """Return the first or last row of a page if it is in the zone and not part of a table."""
    places = [s.baseline for s in page.segments]
    if not places:
        return None
    edge = min(places) if zone == "top" else max(places)
    segments = sorted((s for s in page.segments if abs(s.baseline - edge) <= 0.5 * s.size), key=lambda s: s.box.x0)
    place = edge if zone == "top" else page.height - edge
    in_table = any(s.grid >= 0 and len(page.grids[s.grid].cells) > 1 for s in segments)
    if in_table or place > ZONE * page.height:
        return None
    distance = min((abs(y - edge) for y in places if abs(y - edge) > 0.5 * segments[0].size), default=page.height)
    return _Row(segments, place, distance > APART * segments[0].size)


def _normal(text: str) -> str:
    return "".join(_DIGITS.sub("#", text).split())


def _repeated(rows: dict[int, _Row], n_pages: int, zone: Zone) -> dict[int, _Row]:
    """Return the rows, by page, that are headers or footers."""
    need = 2 if n_pages <= 4 else 3
    by_place: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, row in rows.items():
        place = round(row.place / SAME_PLACE)
        for near in (place - 1, place, place + 1):
            by_place[near][_normal(row.text)].append(number)
    found = {}
    for number, row in rows.items():
        texts = by_place[round(row.place / SAME_PLACE)]
        if _BODY.match(row.text):
            continue
        if _is_repeated(texts[_normal(row.text)], need, n_pages) or _is_page_number(row, number, n_pages, zone):
            found[number] = row
    return found | _at_same_place(rows, found, need)


def _at_same_place(rows: dict[int, _Row], found: dict[int, _Row], need: int) -> dict[int, _Row]:
    """Return short rows at a place where most pages have a header, such as the header of a section of one page."""
    at_place: dict[int, set[int]] = defaultdict(set)
    for number, row in rows.items():
        place = round(row.place / SAME_PLACE)
        for near in (place - 1, place, place + 1):
            at_place[near].add(number)
    sizes = {round(s.size) for row in found.values() for s in row.segments}
    others = {}
    for number, row in rows.items():
        numbers = at_place[round(row.place / SAME_PLACE)]
        share = APART_SHARE if row.apart else SLOT_SHARE
        usual = len(numbers) > need and len(numbers & found.keys()) >= share * len(numbers)
        alike = len(row.text) <= MAX_CHARACTERS and round(row.segments[0].size) in sizes
        if usual and alike and not _BODY.match(row.text):
            others[number] = row
    return others


def _is_repeated(numbers: Sequence[int], need: int, n_pages: int) -> bool:
    ordered = sorted(numbers)
    if len(ordered) >= max(need, COMMON * n_pages):
        return True
    neighbors = [n for n in ordered if any(0 < abs(n - other) <= NEARBY for other in ordered)]
    return len(neighbors) >= need


def _is_page_number(row: _Row, number: int, n_pages: int, zone: Zone) -> bool:
    """Return whether a row that other pages do not repeat is a page number: `- 3 -`, `3 / 12`, or 3 on page 3."""
    match = PAGE_NUMBER.match(row.text)
    if not match:
        return False
    if _DECORATED.match(row.text) or match["total"]:
        return True
    return match["number"] == str(number) and zone == "bottom" and n_pages > 1


def _side_labels(pages: Sequence[Page], known: set[str]) -> Iterator[Removed]:
    """Remove text to the left and right of the body that several pages repeat, and yield it."""
    need = 2 if len(pages) <= 4 else 3
    wide = [s.box for page in pages for s in page.segments if s.box.width > 0.3 * page.width]
    if not wide:
        return
    left = sorted(b.x0 for b in wide)[len(wide) // 50]
    right = sorted(b.x1 for b in wide)[-1 - len(wide) // 50]
    places: dict[tuple[int, int, str], set[int]] = defaultdict(set)
    for page in pages:
        for segment in _outside(page, left, right):
            places[_side_key(segment)].add(page.number)
        for segment in (s for segments in page.sideways for s in segments):
            places[_side_key(segment)].add(page.number)
    repeated = {key for key, numbers in places.items() if len(numbers) >= need}
    for page in pages:
        labels = [s for s in _outside(page, left, right) if _side_key(s) in repeated]
        _drop(page, labels)
        for i, segments in enumerate(page.sideways):
            turned = [
                s for s in segments
                if _side_key(s) in repeated or _normal(s.text) in known or PAGE_NUMBER.match(s.text)
            ]  # fmt: skip
            labels += turned
            page.sideways[i] = [s for s in segments if s not in turned]
        for segment in labels:
            yield Removed(segment.text, page.number, _reason(segment.text, "top"))


def _outside(page: Page, left: float, right: float) -> list[Segment]:
    return [s for s in page.segments if s.box.x1 < left - 2 or s.box.x0 > right + 2]


def _side_key(segment: Segment) -> tuple[int, int, str]:
    return round(segment.box.x0 / (2 * SAME_PLACE)), round(segment.baseline / (2 * SAME_PLACE)), segment.text
