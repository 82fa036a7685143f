"""Report gaps and repeats in the numbers of articles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from insurance_rag.ingest.headings import article_label
from insurance_rag.ingest.numbering import follows
from insurance_rag.ingest.outline import Section


def numbering_problems(sections: Sequence[Section]) -> Iterator[str]:
    """Yield a warning for each article whose number does not follow the one before in its part."""
    previous: Section | None = None
    for section in sections:
        if section.number is None:
            continue
        if previous is None or previous.part != section.part:
            if section.number != (1, 0):
                yield f"{_where(section)} is the first article; check whether earlier ones are missing"
        elif previous.number is not None and not follows(section.number, previous.number):
            yield _problem(section, previous)
        previous = section


def _problem(section: Section, previous: Section) -> str:
    assert section.number and previous.number
    if section.number == previous.number:
        return f"{_where(section)} has the same number as the article before ({previous.heading}); check the document"
    if section.number < previous.number:
        return f"{_where(section)} follows {previous.label}; check the order of the pages"
    n, m = section.number
    first, last = previous.number[0] + 1, n if m > 1 else n - 1
    missing = (
        article_label((first, 0)) if first >= last else f"{article_label((first, 0))} to {article_label((last, 0))}"
    )
    return f"{_where(section)} follows {previous.label}; check whether {missing} is missing in the document"


def _where(section: Section) -> str:
    page = f"page {section.page}: " if section.page else ""
    return f"{page}{section.part}: {section.heading}"
