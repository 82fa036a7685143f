"""Reads the text layer of PDF files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.ingest.document import Removed
from insurance_rag.ingest.readers.page_ranges import page_ranges
from insurance_rag.ingest.readers.pdf_layout.assemble import assemble
from insurance_rag.ingest.readers.pdf_layout.glyphs import PageText, read_page
from insurance_rag.ingest.readers.pdf_layout.lines import page_blocks
from insurance_rag.ingest.readers.pdf_layout.margins import remove_margins
from insurance_rag.ingest.readers.pdf_layout.segments import Page, divide
from insurance_rag.ingest.readers.registry import Content, Source, reader

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

MAX_HEADER_OFFSET = 1024
"""A PDF file may have other data before its first line, up to this many bytes."""
MAX_TRAILER = 4096
"""The end mark of a PDF file is in its last bytes."""
FEW_CHARACTERS = 60
"""A page with fewer characters that is mostly a picture is a scan, possibly with a stamped page number."""
SCAN_SHARE = 0.5
"""Share of a page that the picture of a scan covers at least."""
MISSING_CHARACTERS = 10
"""A page is incomplete if at least this many characters are not mapped to text."""
UNREADABLE_SHARE = 0.3
"""A page where more than this share of the characters is not mapped to text cannot be read."""


def is_pdf(data: bytes) -> bool:
    return b"%PDF-" in data[:MAX_HEADER_OFFSET]


@dataclass
class _Pages:
    """The pages of a document, and what is wrong with them."""

    pages: list[Page] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)
    without_text: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    incomplete: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)


@reader(
    "pdf",
    title="PDF",
    description="PDF files with a text layer. Scanned pages must go through text recognition first.",
    suffixes=(".pdf",),
    recognizes=is_pdf,
)
def read_pdf(source: Source) -> Content:
    """Read a PDF file. Pages that cannot be read are named in a warning. If no page can be read, raises an error."""
    document = _open(source)
    try:
        read = _read_pages(document)
    finally:
        document.close()
    _check(source, read)
    removed = [*read.removed, *remove_margins(read.pages)]
    blocks, contents = assemble([block for page in read.pages for block in page_blocks(page)])
    removed = sorted([*removed, *contents], key=lambda r: r.page)
    return Content(tuple(blocks), len(read.pages), tuple(removed), tuple(_warnings(source, read)))


def _open(source: Source) -> PdfDocument:
    import pypdfium2

    name = source.path.name
    if b"%%EOF" not in source.data[-MAX_TRAILER:]:
        raise InvalidInputError(f"{name}: the PDF file is truncated (its end mark is missing); copy the file again")
    try:
        document = pypdfium2.PdfDocument(source.data)
    except pypdfium2.PdfiumError as e:
        if "password" in str(e).lower():
            raise InvalidInputError(
                f"{name}: the PDF file is encrypted and needs a password; save a copy without a password"
            ) from None
        raise InvalidInputError(
            f"{name}: the PDF file is damaged ({e}); copy the file again, or repair it, for example with qpdf"
        ) from None
    if len(document) == 0:
        raise InvalidInputError(f"{name}: the PDF file has no pages; check that it is the right file")
    return document


def _read_pages(document: PdfDocument) -> _Pages:
    import pypdfium2

    read = _Pages()
    for number in range(1, len(document) + 1):
        try:
            page = document[number - 1]
        except pypdfium2.PdfiumError:
            read.broken.append(number)
            continue
        try:
            text = read_page(page, number)
        finally:
            page.close()
        _note(read, text)
        read.pages.append(divide(text))
    return read


def _note(read: _Pages, text: PageText) -> None:
    """Record what a page hides, and whether it can be read."""
    for reason, hidden in (("hidden", text.hidden), ("watermark", text.watermark)):
        if hidden:
            read.removed.append(Removed(hidden, text.number, "hidden" if reason == "hidden" else "watermark"))
    n = len(text.glyphs) + sum(map(len, text.sideways))
    scanned = n < FEW_CHARACTERS and text.shapes.image_share > SCAN_SHARE and not text.recognized
    if scanned or (n == 0 and text.shapes.n_objects):
        read.without_text.append(text.number)
    elif n and text.n_unreadable > UNREADABLE_SHARE * n:
        read.unreadable.append(text.number)
        read.removed.append(Removed("".join(g.char for g in text.glyphs), text.number, "unreadable"))
        text.glyphs, text.sideways = [], []
    elif text.n_unmapped >= MISSING_CHARACTERS:
        read.incomplete.append(text.number)


def _check(source: Source, read: _Pages) -> None:
    """Raise InvalidInputError if pages are damaged or no page has text."""
    name = source.path.name
    if read.broken:
        raise InvalidInputError(
            f"{name}: {page_ranges(read.broken)} cannot be read because the PDF file is damaged; copy the file again"
        )
    if any(page.segments or any(page.sideways) for page in read.pages):
        return
    if read.unreadable:
        raise InvalidInputError(
            f"{name}: the fonts of {page_ranges(read.unreadable)} do not map characters to text; run text recognition "
            "(OCR), for example: ocrmypdf --force-ocr -l kor"
        )
    raise InvalidInputError(
        f"{name}: no page has a text layer, so the document is a scan; run text recognition (OCR), for example: "
        "ocrmypdf -l kor"
    )


def _warnings(source: Source, read: _Pages) -> Iterable[str]:
    name = source.path.name
    if read.without_text:
        yield (
            f"{name}: {page_ranges(read.without_text)} {_have(read.without_text)} no text layer; run OCR, for example "
            "ocrmypdf --skip-text -l kor"
        )
    if read.unreadable:
        yield (
            f"{name}: most characters of {page_ranges(read.unreadable)} are not mapped to text and were left out; run "
            "OCR, for example ocrmypdf --force-ocr -l kor"
        )
    if read.incomplete:
        yield (
            f"{name}: some characters of {page_ranges(read.incomplete)} are not mapped to text and are missing; "
            "compare the text with the pages, or run OCR, for example ocrmypdf --force-ocr -l kor"
        )


def _have(numbers: Sequence[int]) -> str:
    return "has" if len(numbers) == 1 else "have"
