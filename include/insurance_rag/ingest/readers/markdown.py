"""Reads Markdown files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from insurance_rag.ingest.readers.encodings import decode_text
from insurance_rag.ingest.readers.html import content_of_html
from insurance_rag.ingest.readers.pdf_layout.marks import find_mark, heading_style
from insurance_rag.ingest.readers.registry import Content, Source, reader

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---\s*\n.*?\n(?:---|\.\.\.)\s*\n", re.DOTALL)


@reader(
    "markdown",
    title="Markdown",
    description="CommonMark with tables. Lines that start with an item number or the heading of an article stay lines.",
    suffixes=(".md", ".markdown"),
)
def read_markdown(source: Source) -> Content:
    """Read a Markdown file."""
    from markdown_it import MarkdownIt

    text = decode_text(source.data, source.path.name).replace("\r\n", "\n")
    # Items of policies are often indented, which must not make them code.
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable("code")
    tokens = parser.parse(_FRONT_MATTER.sub("", text))
    for token in tokens:
        _keep_lines(token.children or [])
    return content_of_html(parser.renderer.render(tokens, parser.options, {}))


def _keep_lines(children: list[Token]) -> None:
    """Turn line breaks before item numbers and headings into breaks that are displayed."""
    for i, child in enumerate(children):
        if child.type == "softbreak":
            following = "".join(c.content for c in children[i + 1 : i + 4])
            if find_mark(following) is not None or heading_style(following) is not None:
                child.type, child.tag = "hardbreak", "br"
