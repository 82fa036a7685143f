"""Find tables of contents that the readers of the formats could not recognize: headings without text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from insurance_rag.ingest.headings import (
    PRELUDES,
    ArticleHeading,
    appendix_heading,
    article_heading,
    division_heading,
    part_heading,
)
from insurance_rag.ingest.paragraphs import Paragraph

MIN_HEADINGS = 5
"""So many headings in a row without text between them are a table of contents."""
MAX_PARTS_ABOVE = 2
"""Number of names above the first article of a part: its own and that of a group of parts."""

_CONTENTS_TITLE = re.compile(r"^\W*(?:목\s*차|차\s*례|contents)\W*$", re.IGNORECASE)


def find_contents(paragraphs: Sequence[Paragraph]) -> set[int]:
    """Return the indexes of paragraphs in tables of contents.

    The last headings of a run are kept if text follows, because they are the real ones.
    """
    found = {i for i, paragraph in enumerate(paragraphs) if _CONTENTS_TITLE.match(paragraph.text)}
    run: list[int] = []
    for i in range(len(paragraphs) + 1):
        if i < len(paragraphs) and (i in found or _is_bare_heading(paragraphs[i], i)):
            run.append(i)
            continue
        if len(run) >= MIN_HEADINGS:
            end = _end_of_contents(run, paragraphs) if i < len(paragraphs) else len(run)
            found.update(run[:end] if end >= MIN_HEADINGS else ())
        run = []
    return found


def _is_bare_heading(paragraph: Paragraph, i: int) -> bool:
    if article := article_heading(paragraph, i):
        return article.score > 0 and not article.body
    return bool(
        division_heading(paragraph)
        or part_heading(paragraph)
        or appendix_heading(paragraph)
        or PRELUDES.match(paragraph.text)
    )


def _end_of_contents(run: Sequence[int], paragraphs: Sequence[Paragraph]) -> int:
    """Return the number of headings at the beginning of a run that are a table of contents; text follows the run."""
    last = article_heading(paragraphs[run[-1]], run[-1])
    if last is None:
        return len(run) - 1
    if last.number != (1, 0):
        return len(run) if _recurs(last, paragraphs) else len(run) - 1
    end, parts = len(run) - 1, 0
    while end > 0:
        above = paragraphs[run[end - 1]]
        parts += part_heading(above) is not None
        if parts > MAX_PARTS_ABOVE or not (division_heading(above) or part_heading(above)):
            break
        end -= 1
    return end


def _recurs(heading: ArticleHeading, paragraphs: Sequence[Paragraph]) -> bool:
    """Return whether the article has another heading later in the document."""
    later = (article_heading(p, i) for i, p in enumerate(paragraphs) if i > heading.index)
    return any(other and other.number == heading.number and _same(other.title, heading.title) for other in later)


def _same(a: str, b: str) -> bool:
    return "".join(a.split()) == "".join(b.split())
