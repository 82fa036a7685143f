"""Split the text of a long section into pieces: at paragraphs (항), then items (호, 목), then between sentences.

A piece depends on the text around it as little as possible: a list of items that is too long is halved until its parts
fit, so a longer item changes only the pieces of its own half.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from insurance_rag.ingest.item_marks import LEVELS, item_numbers
from insurance_rag.ingest.paragraphs import Paragraph
from insurance_rag.korean import sentences

MAX_LEAD = 250
"""Longer introductions of a list are not repeated above each piece of the list."""

_BOX = re.compile(r"[【\[<〔■◆▶※☞]")


@dataclass(frozen=True)
class Piece:
    """A part of a section that becomes one chunk."""

    label: str
    """Place within the section, e.g. `2` for 제2항 and `2.7` for its 제7호; empty if the section is in one piece."""
    lines: tuple[str, ...]
    page: int
    page_end: int


@dataclass(frozen=True)
class _Item:
    """An item with everything below it. The text in front of the first item of a list is an item, too."""

    label: str
    paragraphs: tuple[Paragraph, ...]
    is_introduction: bool = False

    @property
    def size(self) -> int:
        return sum(len(p.text) + 1 for p in self.paragraphs)


@dataclass(frozen=True)
class _Splitter:
    limit: int
    minimum: int

    def split(self, item: _Item, level: int, leads: tuple[str, ...] = ()) -> Iterator[Piece]:
        """Yield the pieces of an item that is too long. `leads` introduce it and are repeated above its pieces."""
        items: list[_Item] = []
        while level < len(LEVELS) and len(items := _items(item, level)) < 2:
            level += 1
        if level == len(LEVELS):
            yield from self._split_text(item, leads)
            return
        own = (*leads, *_lead(items[0])) if item.label else leads
        for group in self._groups(items, self._room(own)):
            above = leads if group[0].is_introduction else own
            if len(group) == 1 and group[0].size > self._room(above):
                if group[0].is_introduction:
                    yield from self._split_text(group[0], above)
                else:
                    yield from self.split(group[0], level + 1, above)
            else:
                label = group[0].label or group[min(1, len(group) - 1)].label
                yield _piece(label, [p for each in group for p in each.paragraphs], above)

    def _room(self, leads: Sequence[str]) -> int:
        return max(self.limit - sum(len(lead) + 1 for lead in leads), self.limit // 2)

    def _groups(self, items: Sequence[_Item], room: int) -> list[list[_Item]]:
        """Return runs of items that fit, by halving. Very short runs are joined with the run before or after."""
        joined: list[list[_Item]] = []
        for group in _halved(list(items), room):
            size = sum(item.size for item in group)
            before = sum(item.size for item in joined[-1]) if joined else room
            if joined and min(size, before) < self.minimum and size + before <= room:
                joined[-1] = [*joined[-1], *group]
            else:
                joined.append(group)
        return joined

    def _split_text(self, item: _Item, leads: tuple[str, ...]) -> Iterator[Piece]:
        """Yield pieces of text without items: whole paragraphs where they fit, else sentences or rows of tables."""
        room = self._room(leads)
        runs: list[list[Paragraph]] = []
        for whole in item.paragraphs:
            used = sum(len(p.text) + 1 for p in runs[-1]) if runs else room
            begins_box = _BOX.match(whole.text) is not None and used >= room // 2
            if used + len(whole.text) <= room and not begins_box:
                runs[-1].append(whole)
                continue
            below = used <= room // 2  # a long text or table starts below the lines that introduce it
            first, *rest = _parts(whole, room, room - used if below else room)
            if below and used + len(first.text) <= room:
                runs[-1].append(first)
            else:
                runs.append([first])
            runs += [[part] for part in rest]
        for n, run in enumerate(runs, 1):
            label = item.label if n == 1 else f"{item.label}-{n}" if item.label else str(n)
            yield _piece(label, run, leads)


def split_section(paragraphs: Sequence[Paragraph], limit: int, minimum: int) -> list[Piece]:
    """Return the pieces of a section, each at most `limit` characters long if its sentences and rows allow it."""
    whole = _Item("", tuple(paragraphs))
    if whole.size <= limit:
        return [_piece("", paragraphs)] if paragraphs else [Piece("", (), 0, 0)]
    pieces = [*_Splitter(limit, minimum).split(whole, 0)]
    return _with_unique_labels(pieces) if len(pieces) > 1 else [replace(pieces[0], label="")]


def _items(above: _Item, level: int) -> list[_Item]:
    """Return the items of this level, and in front of them the text that introduces them."""
    found: list[tuple[str, list[Paragraph]]] = []
    numbers = item_numbers(above.paragraphs, level)
    for paragraph, number in zip(above.paragraphs, numbers, strict=True):
        if number is not None:
            found.append((f"{above.label}.{number}" if above.label else str(number), []))
        elif not found:
            found.append((above.label, []))
        found[-1][1].append(paragraph)
    first_number = numbers[0] if numbers else None
    return [
        _Item(label, tuple(members), is_introduction=i == 0 and first_number is None)
        for i, (label, members) in enumerate(found)
    ]


def _lead(item: _Item) -> tuple[str, ...]:
    """Return the sentence that introduces a list."""
    text = item.paragraphs[0].text
    return (text,) if item.is_introduction and len(item.paragraphs) == 1 and len(text) <= MAX_LEAD else ()


def _halved(items: list[_Item], room: int) -> Iterator[list[_Item]]:
    if len(items) == 1 or sum(item.size for item in items) <= room:
        yield items
        return
    middle = (len(items) + 1) // 2
    yield from _halved(items[:middle], room)
    yield from _halved(items[middle:], room)


def _parts(paragraph: Paragraph, room: int, first_room: int) -> Iterator[Paragraph]:
    """Yield the paragraph, or the parts of it that fit: sentences, or rows of a table below its header.

    `first_room` is the room for the first part.
    """
    if len(paragraph.text) <= room:
        yield paragraph
        return
    head, separator, units = "", " ", [span.text for span in sentences(paragraph.text)]
    if paragraph.is_table:
        separator, units = "\n", paragraph.text.split("\n")
        if " | " in units[0] and len(units[0]) < room // 3:
            head = units.pop(0) + "\n"
    run, left = "", first_room
    for unit in units:
        if run and len(head) + len(run) + len(unit) + 1 > left:
            yield replace(paragraph, text=head + run)
            run, left = "", room
        run = f"{run}{separator}{unit}" if run else unit
    yield replace(paragraph, text=head + run)


def _piece(label: str, paragraphs: Sequence[Paragraph], leads: Sequence[str] = ()) -> Piece:
    lines = (*leads, *(p.text for p in paragraphs))
    return Piece(label, lines, paragraphs[0].page, max(p.page_end for p in paragraphs))


def _with_unique_labels(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces with a label for each. Text in front of the first item has the label `0`."""
    taken: set[str] = set()
    named: list[Piece] = []
    for piece in pieces:
        label, n = piece.label or "0", 1
        while label in taken:
            n += 1
            label = f"{piece.label or '0'}-{n}"
        taken.add(label)
        named.append(replace(piece, label=label))
    return named
