"""Reads HTML files."""

from __future__ import annotations

import re

from insurance_rag.ingest.readers.encodings import decode_text
from insurance_rag.ingest.readers.html_text import HtmlText
from insurance_rag.ingest.readers.registry import Content, Source, reader

HEAD = 2048
"""The encoding is declared in the first bytes of a page."""

_START = re.compile(
    rb"^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html[\s>])", re.I | re.S
)
_CHARSET = re.compile(rb"""charset\s*=\s*["']?\s*([\w.:-]+)|encoding\s*=\s*["']([\w.:-]+)""", re.IGNORECASE)


def is_html(data: bytes) -> bool:
    """Return whether a file is an HTML page. UTF-16 is recognized by its file name only."""
    return _START.match(data[:HEAD]) is not None


@reader(
    "html",
    title="HTML",
    description="Web pages: headings, paragraphs, numbered lists and tables, without navigation and hidden text.",
    suffixes=(".html", ".htm", ".xhtml"),
    recognizes=is_html,
)
def read_html(source: Source) -> Content:
    """Read a web page in the encoding that it declares."""
    match = _CHARSET.search(source.data[:HEAD])
    declared = (match[1] or match[2]).decode("ascii", "replace") if match else None
    return content_of_html(decode_text(source.data, source.path.name, declared))


def content_of_html(text: str) -> Content:
    """Return the visible content of HTML."""
    from lxml import etree, html

    text = re.sub(r"^\s*<\?xml[^>]*>", "", text)  # lxml refuses a declared encoding in decoded text
    if not text.strip():
        return Content(())
    try:
        root = html.document_fromstring(text, parser=html.HTMLParser(no_network=True, remove_comments=True))
    except etree.ParserError:  # no element in the whole text
        return Content(())
    reader_of_text = HtmlText()
    blocks = tuple(reader_of_text.blocks(root))
    return Content(blocks, removed=tuple(reader_of_text.removed))
