"""Render the report about reading documents: one self-contained page with coverage, structure, pages and changes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from insurance_rag.config.ingest import IngestConfig
from insurance_rag.core.files import atomic_write
from insurance_rag.core.html_pages import page_environment
from insurance_rag.core.records import Chunk
from insurance_rag.core.records.ingest import LeftOut, OutlineEntry, PageCoverage
from insurance_rag.ingest.document import Table, join_lines
from insurance_rag.ingest.pictures import page_pictures
from insurance_rag.ingest.read import ReadDocument, Result
from insurance_rag.ingest.report_changes import shown_changes
from insurance_rag.ingest.warning_texts import korean_warning

TEMPLATES = Path(__file__).with_name("templates")
STYLES = Path(__file__).parents[1] / "report" / "templates" / "report.css"
"""Styles that this page has in common with the report about a run."""
MAX_LEFT_OUT = 200
"""Number of texts that were left out for the same reason that the page lists."""


@dataclass(frozen=True)
class ShownChunk:
    chunk: Chunk
    continued: bool
    """Whether the chunk began on an earlier page."""


@dataclass(frozen=True)
class ShownPage:
    """A page with its picture or text, next to its chunks."""

    coverage: PageCoverage
    picture: str
    """Data URL; empty if the text is shown instead."""
    text: str
    chunks: tuple[ShownChunk, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class OutlineGroup:
    """Consecutive sections with the same part and divisions."""

    names: tuple[str, ...]
    entries: tuple[OutlineEntry, ...]


@dataclass(frozen=True)
class ShownDocument:
    read: ReadDocument
    outline: tuple[OutlineGroup, ...]
    left_out: Mapping[str, Sequence[LeftOut]]
    """Reason -> texts."""
    pages: tuple[ShownPage, ...]


def write_report(path: Path, result: Result, config: IngestConfig) -> None:
    """Write the report to `path`."""
    pictures = [dict[int, str]() for _ in result.documents]
    if config.page_pictures:
        pdfs = [(d.source.path, d.record.pages if d.document.kind == "pdf" else 0) for d in result.documents]
        pictures = page_pictures(pdfs, config.pictures_megabytes)
    css = STYLES.read_text(encoding="utf-8") + (TEMPLATES / "ingest.css").read_text(encoding="utf-8")
    js = (TEMPLATES / "ingest.js").read_text(encoding="utf-8")
    changes = result.changes
    parts = (
        _environment()
        .get_template("ingest.html.j2")
        .generate(
            documents=[_shown(d, result.chunks, found) for d, found in zip(result.documents, pictures, strict=True)],
            n_chunks=len(result.chunks),
            duplicates=sum(getattr(chunk.metadata, "duplicate_of", None) is not None for chunk in result.chunks),
            changes=changes,
            details=shown_changes(changes, result.previous, result.chunks) if changes else [],
            warnings=result.warnings,
            css=Markup(css),
            js=Markup(js),
            csp=_policy(css, js),
        )
    )
    with atomic_write(path) as f:
        f.writelines(parts)


def _shown(read: ReadDocument, chunks: Sequence[Chunk], pictures: Mapping[int, str]) -> ShownDocument:
    by_page: dict[int, list[Chunk]] = {}
    for chunk in chunks:
        if chunk.metadata.source == read.source.name:
            for page in range(getattr(chunk.metadata, "page", 0), getattr(chunk.metadata, "page_end", 0) + 1):
                by_page.setdefault(page, []).append(chunk)
    left_out: dict[str, list[LeftOut]] = {}
    for left in read.left_out:
        left_out.setdefault(left.reason, []).append(left)
    groups = groupby(read.outline, key=lambda entry: (entry.part, *entry.divisions))
    outline = tuple(OutlineGroup(names, tuple(entries)) for names, entries in groups)
    pages = tuple(_page(read, coverage, by_page.get(coverage.page, ()), pictures) for coverage in read.pages)
    return ShownDocument(read, outline, left_out, pages)


def _page(
    read: ReadDocument, coverage: PageCoverage, chunks: Sequence[Chunk], pictures: Mapping[int, str]
) -> ShownPage:
    number = coverage.page
    here = tuple(ShownChunk(chunk, continued=getattr(chunk.metadata, "page", 0) < number) for chunk in chunks)
    left_out = tuple(left for left in read.left_out if left.page == number)
    picture = pictures.get(number, "")
    return ShownPage(coverage, picture, "" if picture else _page_text(read, number), here, left_out)


def _page_text(read: ReadDocument, page: int) -> str:
    blocks = [block for block in read.document.blocks if block.page == page]
    parts: list[str] = []
    for is_table, run in groupby(blocks, key=lambda block: isinstance(block, Table)):
        if is_table:
            parts += [" | ".join(row) for block in run if isinstance(block, Table) for row in block.rows]
        else:
            parts.append(join_lines(block for block in run if not isinstance(block, Table)))
    return "\n".join(parts)


def _policy(css: str, js: str) -> str:
    """Return a Content-Security-Policy that allows only this style sheet, this script and pictures in the page."""
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js))
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; img-src data:; "
        "form-action 'none'; base-uri 'none'"
    )


def _bilingual(ko: str, en: str) -> Markup:
    return Markup('<span class="ko" lang="ko">{}</span><span class="en" lang="en">{}</span>').format(ko, en)


def _percent(value: float) -> str:
    """Format a fraction as a percentage. Only a complete one is 100 %."""
    rounded = f"{100 * value:.1f}%"
    return "99.9%" if rounded == "100.0%" and value < 1 else rounded


@cache
def _environment() -> Environment:
    environment = page_environment(TEMPLATES)
    environment.globals.update(t=_bilingual, max_left_out=MAX_LEFT_OUT)
    environment.filters.update(percent=_percent, korean=korean_warning)
    return environment
