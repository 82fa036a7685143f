"""Find the names of a policy's parts: 보통약관, 특별약관, 특약."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from insurance_rag.ingest.headings import (
    ArticleHeading,
    PartHeading,
    appendix_heading,
    division_heading,
    is_title_line,
    part_heading,
    without_separator,
)
from insurance_rag.ingest.numbering import NEAR
from insurance_rag.ingest.paragraphs import Paragraph

MAX_LIST_RUN = 2
"""More names of parts than this in a row are a list of parts."""
MAX_UNMARKED_TITLE = 40
LARGE = 1.15
"""Font size of headings relative to that of the text."""
_BARE_NAMES = ("보통약관", "특별약관", "추가약관", "약관", "특약")

_ITEM = re.compile(r"^(?:[①-⑳㉠-㉻\-•·※*☞→]|\(?\d{1,2}[.)]|[가-하][.)]|주\d?\))")
_NUMBER = re.compile(r"^\d{1,3}(?:-\d{1,3}){0,2}[.)]\s+")
_SENTENCE_END = re.compile(r"[.,;:]$|[다요]\.?$")


@dataclass(frozen=True)
class PartStart:
    """Where a part begins."""

    index: int
    """Index of the paragraph with the name of the part, or of the first article if the part has no name."""
    title: str
    groups: tuple[int, ...] = ()
    """Indexes of headings directly above, which name a group of parts, e.g. `○○보험 특별약관`."""
    name_end: int = -1
    """Index of the last paragraph of the name if the name has several lines."""


def find_parts(
    paragraphs: Sequence[Paragraph], headings: Sequence[ArticleHeading], body_size: float
) -> list[PartStart]:
    """Return the parts in document order.

    A part is named by the line above its first article. A part without articles is named by a line whose font or level
    marks it as a heading.
    """
    names = {i: name for i, p in enumerate(paragraphs) if (name := part_heading(p))}
    found: dict[int, PartStart] = {}
    previous = -1
    for heading in headings:
        if heading.number == (1, 0) or previous < 0:
            start = _start_above(paragraphs, heading, previous, names, body_size, unnamed=len(found))
            if start.title or previous >= 0:
                found[start.index] = start
        previous = heading.index
    taken = {i for start in found.values() for i in (start.index, start.name_end, *start.groups)}
    for i, name in names.items():
        if i not in taken and _is_alone(paragraphs, i, names) and is_title_line(paragraphs[i], body_size):
            found[i] = PartStart(i, name.title)
    return _without_repeats(sorted(found.values(), key=lambda start: start.index))


def _start_above(
    paragraphs: Sequence[Paragraph],
    heading: ArticleHeading,
    previous: int,
    names: Mapping[int, PartHeading],
    body_size: float,
    unnamed: int,
) -> PartStart:
    """Return the start of the part whose first article is `heading`; `previous` is the article before it."""
    lowest = max(previous + 1, heading.index - NEAR)
    above = [i for i in range(heading.index - 1, lowest - 1, -1) if i in names]
    if above:
        first = _first_line(above[0], lowest, paragraphs, names, body_size)
        title = " ".join([*(without_separator(p.text) for p in paragraphs[first : above[0]]), names[above[0]].title])
        return PartStart(first, _NUMBER.sub("", title), _groups_above(above, paragraphs), name_end=above[0])
    for i in range(heading.index - 1, lowest - 1, -1):
        if division_heading(paragraphs[i]):
            continue
        if _is_unmarked_title(paragraphs, i, body_size) or appendix_heading(paragraphs[i]):
            return PartStart(i, _NUMBER.sub("", without_separator(paragraphs[i].text)))
        break
    for i in range(lowest, heading.index):
        if division := division_heading(paragraphs[i]):
            return PartStart(i, division.text if unnamed else "")
    return PartStart(heading.index, f"약관 {unnamed + 1}" if unnamed else "")


def _first_line(
    i: int, lowest: int, paragraphs: Sequence[Paragraph], names: Mapping[int, PartHeading], body_size: float
) -> int:
    """Return the index of the first line of the name that ends at `i`.

    Lines of the same large font belong together. Without font sizes, a line belongs to a name that is not complete.
    """
    name = paragraphs[i]
    large = name.size >= LARGE * body_size > 0
    incomplete = names[i].title.startswith("(") or "".join(names[i].title.split()) in _BARE_NAMES
    first = i
    while first > lowest:
        above = paragraphs[first - 1]
        same = abs(above.size - name.size) < 0.5 and above.level == name.level and above.page == name.page
        if not same or not (large or (incomplete and first == i)) or first - 1 in names or not _may_be_name(above):
            break
        first -= 1
    return first


def _may_be_name(paragraph: Paragraph) -> bool:
    text = paragraph.text
    if paragraph.is_table or len(text) > MAX_UNMARKED_TITLE or _ITEM.match(text) or _SENTENCE_END.search(text):
        return False
    return division_heading(paragraph) is None and appendix_heading(paragraph) is None


def _groups_above(above: Sequence[int], paragraphs: Sequence[Paragraph]) -> tuple[int, ...]:
    """Return which of the names above a part's own name are separated from it by nothing but headings."""
    groups = []
    for nearer, farther in pairwise(above):
        between = paragraphs[farther + 1 : nearer]
        if any(division_heading(p) is None and len(p.text) > MAX_UNMARKED_TITLE for p in between):
            break
        groups.append(farther)
    return tuple(groups)


def _is_unmarked_title(paragraphs: Sequence[Paragraph], i: int, body_size: float) -> bool:
    """Return whether a line without the word 약관 names the part whose first article is below it.

    It must look like a heading, or follow a complete sentence.
    """
    paragraph = paragraphs[i]
    if not _may_be_name(paragraph):
        return False
    after_sentence = i > 0 and _SENTENCE_END.search(paragraphs[i - 1].text) is not None
    return paragraph.starts_page or after_sentence or is_title_line(paragraph, body_size)


def _is_alone(paragraphs: Sequence[Paragraph], i: int, names: Mapping[int, PartHeading]) -> bool:
    """Return whether text follows, rather than further names as in a list of parts."""
    first = last = i
    while first - 1 in names:
        first -= 1
    while last + 1 in names:
        last += 1
    follows = paragraphs[last + 1] if last + 1 < len(paragraphs) else None
    return last - first < MAX_LIST_RUN and last == i and follows is not None and appendix_heading(follows) is None


def _without_repeats(starts: Sequence[PartStart]) -> list[PartStart]:
    """Return the parts without a name that repeats the one before, as the running title of each page does."""
    return [start for i, start in enumerate(starts) if i == 0 or start.title != starts[i - 1].title]
