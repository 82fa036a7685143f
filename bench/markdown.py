"""Format rates and tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from insurance_rag.core.records import Rate


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """Yield the lines of a table, and an empty line."""
    head = list(head)
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    yield from ("| " + " | ".join(map(str, row)) + " |" for row in rows)
    yield ""


def percent_interval(rate: Rate) -> str:
    """Return a rate with its interval in percent, e.g. `56.4 [51.5, 61.2]`."""
    return f"{percent(rate.rate)} [{percent(rate.low)}, {percent(rate.high)}]" if rate.n else "-"


def percent(share: float | None) -> str:
    """Return a share in percent with one decimal, e.g. `56.4`."""
    return "-" if share is None else f"{100 * share:.1f}"
