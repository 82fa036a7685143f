"""Finds tables of contents: lines that end with a page number, after dots or at the right edge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from insurance_rag.ingest.readers.pdf_layout.lines import Block, TableBlock, TextLine
from insurance_rag.ingest.readers.pdf_layout.marks import find_mark, heading_style

MIN_LEADERS = 3
"""Minimum number of lines with dots and a page number in a table of contents."""
MIN_ENTRIES = 5
"""Minimum number of lines with a page number but without dots."""
MAX_BETWEEN = 4
"""Maximum number of lines without a page number between two entries, such as names of parts."""
MAX_CHARACTERS = 70
WIDE_GAP = 2.0
"""Minimum gap before a page number without dots, in font sizes."""
ASCENDING = 0.8
"""Share of the entries whose page number is at least that of the entry before."""

_TITLE = re.compile(r"^\W*(?:약관)?(?:목차|차례|contents|tableofcontents|색인|찾아보기|index)\W*$", re.IGNORECASE)
_LEADER = re.compile(r"(?:[.·‥…∙･ㆍ・․_\-‐─━]\s?){4,}\s*(?:p\.?\s?)?(?P<page>\d{1,4}|[ivxlc]{1,6})?\s*$", re.IGNORECASE)
_NUMBER = re.compile(r"^(?P<title>.*\D)\s(?:p\.?\s?)?(?P<page>\d{1,4})$")
_ENTRY = re.compile(r"약관\b|특약\b|특칙|별\s?표|부\s?[표칙록]|안내|요약서|사항|해설|가이드")
_SENTENCE = re.compile(r"[다요]\.$")


def find_contents(blocks: Sequence[Block]) -> set[int]:
    """Return the indexes of the blocks that are part of a table of contents."""
    found: set[int] = set()
    run: list[int] = []
    start: int | None = None
    for i, block in enumerate(blocks):
        if _is_title(block):
            found |= _accepted(blocks, run, start)
            run, start = [], i
        elif _page_number(block) is not None or _leader(block):
            run.append(i)
        elif isinstance(block, TableBlock):
            if _is_contents_table(block, start is not None):
                found.add(i)
        elif not _is_between(block, i - (run[-1] if run else start if start is not None else i)):
            found |= _accepted(blocks, run, start)
            run, start = [], None
    return found | _accepted(blocks, run, start)


def _accepted(blocks: Sequence[Block], run: Sequence[int], title: int | None) -> set[int]:
    """Return the indexes from the title, or else the first entry, to the last entry if this is a table of contents."""
    if not run:
        return set()
    leaders = sum(_leader(blocks[i]) for i in run)
    numbers = [n for i in run if (n := _page_number(blocks[i])) is not None]
    ascending = _share_ascending(numbers) >= ASCENDING
    entries = sum(_is_entry(blocks[i]) for i in run)
    accepted = (
        (leaders >= MIN_LEADERS and ascending)
        or (title is not None and len(run) >= 2 and ascending)
        or (len(numbers) >= MIN_ENTRIES and ascending and 2 * entries >= len(run))
    )
    first = title if title is not None and run[0] - title <= 2 * MAX_BETWEEN else run[0]
    return set(range(first, run[-1] + 1)) if accepted else set()


def _share_ascending(numbers: Sequence[int]) -> float:
    steps = [b >= a for a, b in pairwise(numbers)]
    return sum(steps) / len(steps) if steps else 1.0


def _is_title(block: Block) -> bool:
    return isinstance(block, TextLine) and _TITLE.match("".join(block.text.split())) is not None


def _leader(block: Block) -> bool:
    return isinstance(block, TextLine) and _LEADER.search(block.text) is not None


def _page_number(block: Block) -> int | None:
    """Return the page number at the end of a line after dots or a wide gap."""
    if not isinstance(block, TextLine) or len(block.text) > 3 * MAX_CHARACTERS:
        return None
    if match := _LEADER.search(block.text):
        return int(match["page"]) if match["page"] and match["page"].isdigit() else None
    match = _NUMBER.match(block.text)
    if match is None or _SENTENCE.search(match["title"].strip()):
        return None
    apart = block.gap_before_last > WIDE_GAP * block.size
    return int(match["page"]) if apart or _is_titled(match["title"]) else None


def _is_titled(text: str) -> bool:
    """Return whether a text is the heading of an article with its title in brackets and nothing else."""
    return heading_style(text) in ("article", "caption") and text.rstrip()[-1] in ")]】>〉"


def _is_entry(block: Block) -> bool:
    text = block.text if isinstance(block, TextLine) else ""
    return heading_style(text) is not None or find_mark(text) is not None or _ENTRY.search(text) is not None


def _is_between(line: TextLine, distance: int) -> bool:
    return 0 < distance <= MAX_BETWEEN and len(line.text) <= MAX_CHARACTERS and not _SENTENCE.search(line.text)


def _is_contents_table(table: TableBlock, titled: bool) -> bool:
    """Return whether the last column of a table has page numbers and its rows name articles or parts."""
    last = [lines for cell, lines in table.cells if cell.column_end == table.n_columns and lines]
    numbers = [int(lines[0].text) for lines in last if len(lines) == 1 and re.fullmatch(r"\d{1,4}", lines[0].text)]
    if len(numbers) < MIN_ENTRIES or len(numbers) < 0.6 * len(last) or _share_ascending(numbers) < ASCENDING:
        return False
    texts = [lines[0].text for cell, lines in table.cells if lines and cell.column_end < table.n_columns]
    headings = sum(heading_style(t) is not None or _ENTRY.search(t) is not None for t in texts)
    return titled or 2 * headings >= len(numbers)
