"""Find the numbered items of an article: paragraphs (항), items (호), sub-items (목)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from insurance_rag.ingest.paragraphs import Paragraph

MAX_GAP = 3
"""An item may be this much higher than the one before, because deleted items leave gaps."""

_LETTERS = "가나다라마바사아자차카타파하"
_CIRCLED_LETTERS = "㉠㉡㉢㉣㉤㉥㉦㉧㉨㉩㉪㉫㉬㉭"
#: Forms of the marks, from the highest level to the lowest.
LEVELS: tuple[re.Pattern[str], ...] = (
    re.compile(r"(?P<circled>[①-⑳])|제\s?(?P<number>\d{1,2})\s?항(?=[\s.(])"),
    re.compile(r"(?P<number>\d{1,2})\.(?!\d)"),
    re.compile(rf"(?P<letter>[{_LETTERS}])[.)]"),
    re.compile(r"\(?(?P<number>\d{1,2})\)"),
    re.compile(rf"(?P<circled>[{_CIRCLED_LETTERS}])|\((?P<letter>[{_LETTERS}])\)"),
)


def item_numbers(paragraphs: Sequence[Paragraph], level: int) -> list[int | None]:
    """Return for each paragraph the number of the item that it begins at this level, or None.

    Items of a quoted law (`【수의사법 제12조】 ① ...`) begin at 1 again. They do not count, as they do not continue the
    numbers of the article.
    """
    marks = [None if p.is_table else _number(p.text, level) for p in paragraphs]
    last, quoted = 0, 0
    for i, mark in enumerate(marks):
        if mark is None:
            continue
        continues = last < mark <= last + MAX_GAP and (last > 0 or mark == 1)
        if quoted and mark == quoted + 1 and (not continues or mark in marks[i + 1 :]):
            quoted = mark
            marks[i] = None
        elif continues:
            last, quoted = mark, 0
        else:
            quoted = mark if mark == 1 else 0
            marks[i] = None
    return marks


def _number(text: str, level: int) -> int | None:
    found = LEVELS[level].match(text)
    if not found:
        return None
    value = next(group for group in found.groups() if group)
    if value.isdigit() and value.isascii():
        return int(value)
    for series in (_LETTERS, _CIRCLED_LETTERS):
        if value in series:
            return series.index(value) + 1
    return ord(value) - ord("①") + 1
