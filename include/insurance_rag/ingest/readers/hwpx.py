"""Reads HWPX files (Hangul)."""

from __future__ import annotations

import re

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.ingest.document import Line, Table
from insurance_rag.ingest.readers.office.archives import Archive, names_in
from insurance_rag.ingest.readers.office.hangul import HangulText
from insurance_rag.ingest.readers.office.hwpx_numbering import read_hwpx_numbering
from insurance_rag.ingest.readers.registry import Content, Source, reader

_SECTION = re.compile(r"^Contents/section(\d{1,9})\.xml$", re.IGNORECASE)


def is_hwpx(data: bytes) -> bool:
    return any(_SECTION.match(name) for name in names_in(data)) or data[30:58].startswith(
        b"mimetypeapplication/hwp+zip"
    )


@reader(
    "hwpx",
    title="HWPX",
    description="Hangul documents: paragraphs with their automatic numbers, tables and footnotes.",
    suffixes=(".hwpx",),
    recognizes=is_hwpx,
)
def read_hwpx(source: Source) -> Content:
    """Read the sections of a Hangul document in order."""
    name = source.path.name
    archive = Archive(source.data, name)
    names = set(archive.names())
    manifest = "META-INF/manifest.xml"
    if manifest in names and next(archive.xml(manifest).iter("{*}encryption-data"), None) is not None:
        raise InvalidInputError(
            f"{name}: the document is protected by a password; open it in Hangul and save a copy without a password"
        )
    sections = sorted((int(match[1]), part) for part in names if (match := _SECTION.match(part)))
    if not sections:
        raise InvalidInputError(f"{name}: the document has no sections; open it in Hangul and save it again")
    header = archive.xml("Contents/header.xml") if "Contents/header.xml" in names else None
    styles = {} if header is None else {s.get("id", ""): s.get("name", "") for s in header.iter("{*}style")}
    text = HangulText(read_hwpx_numbering(header), styles)
    blocks: list[Line | Table] = []
    for _, part in sections:
        root = archive.xml(part)
        for properties in root.iter("{*}secPr"):
            text.numbering.outline = properties.get("outlineShapeIDRef", "1")
        blocks += text.blocks(root)
    return Content(tuple(blocks), removed=tuple(text.removed))
