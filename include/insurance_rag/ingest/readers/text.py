"""Reads plain text files."""

from __future__ import annotations

from insurance_rag.ingest.document import Line
from insurance_rag.ingest.readers.encodings import decode_text
from insurance_rag.ingest.readers.registry import Content, Source, reader
from insurance_rag.korean import clean


@reader(
    "text",
    title="Text",
    description="Plain text in UTF-8, UTF-16 or CP949 (EUC-KR), one paragraph per line.",
    suffixes=(".txt", ".text"),
)
def read_text(source: Source) -> Content:
    """Read a text file. Form feeds separate pages."""
    pages = decode_text(source.data, source.path.name).split("\f")
    paged = len(pages) > 1
    lines = [
        Line(" ".join(line.split()), page=number if paged else 0)
        for number, page in enumerate(pages, 1)
        for line in clean(page).split("\n")
        if line.strip()
    ]
    return Content(tuple(lines), n_pages=len(pages) if paged else 0)
