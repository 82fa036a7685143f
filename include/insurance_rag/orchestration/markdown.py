"""Writes Markdown from texts that a model or a document contains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def escape(text: str) -> str:
    """Escape Markdown and HTML characters, and put the text on one line."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#|!~" else c for c in " ".join(text.split()))


def quote_block(text: str) -> Iterator[str]:
    """Yield the lines of a text as a quotation that keeps its line breaks."""
    lines = [escape(line) for line in text.splitlines() if line.strip()] or [""]
    yield from (f"> {line}  " for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table. Columns between the first and a last one with text are numbers, aligned right."""
    aligned = [":---" if name in (head[0], "what it means") else "---:" for name in head]
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(aligned)}|"
    yield from (f"| {' | '.join(row)} |" for row in rows)
