"""Reads DOCX files (Word)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.ingest.readers.office.archives import Archive, names_in, parse_xml
from insurance_rag.ingest.readers.office.numbering import W, read_numbering, value_of
from insurance_rag.ingest.readers.office.word import Style, WordText
from insurance_rag.ingest.readers.registry import Content, Source, reader

if TYPE_CHECKING:
    from lxml.etree import _Element


def is_docx(data: bytes) -> bool:
    return any(name.startswith("word/") and name.endswith(".xml") for name in names_in(data))


@reader(
    "docx",
    title="DOCX",
    description="Word documents: paragraphs with their automatic numbers, tables and footnotes, without deleted text.",
    suffixes=(".docx", ".docm"),
    recognizes=is_docx,
)
def read_docx(source: Source) -> Content:
    """Read a Word document in the order of its body."""
    name = source.path.name
    archive = Archive(source.data, name)
    for part in archive.names():
        if part.endswith((".xml", ".rels")):
            archive.xml(part)  # raises an error that names a damaged or dangerous part
    main = _main_part(source)
    styles = _related(main, "styles", name)
    text = WordText(
        styles={} if styles is None else _styles(styles),
        numbering=read_numbering(_related(main, "numbering", name)),
        footnotes={},
    )
    text.footnotes.update(_notes(text, _related(main, "footnotes", name), "footnote"))
    text.footnotes.update(_notes(text, _related(main, "endnotes", name), "endnote"))
    body = parse_xml(main.blob, name, str(main.partname)).find(f"{W}body")
    blocks = () if body is None else tuple(text.blocks(body))
    return Content(blocks, removed=tuple(text.removed))


def _main_part(source: Source) -> Any:
    """Return the part of the package that contains the document."""
    from docx.opc.exceptions import OpcError
    from docx.package import Package

    try:
        return Package.open(io.BytesIO(source.data)).main_document_part
    except (OpcError, KeyError, ValueError, AttributeError) as e:
        raise InvalidInputError(
            f"{source.path.name}: the Word document is damaged or in the strict variant of DOCX ({e}); open it and "
            "save it as Word document (.docx)"
        ) from None


def _related(main: Any, kind: str, name: str) -> _Element | None:
    """Return the root of a part of the document, such as its styles; None if it has none."""
    for relation in main.rels.values():
        if not relation.is_external and relation.reltype.endswith(f"/{kind}"):
            return parse_xml(relation.target_part.blob, name, str(relation.target_part.partname))
    return None


def _styles(root: _Element) -> dict[str, Style]:
    styles = {}
    for element in root.findall(f"{W}style"):
        style_id = value_of(element, "styleId")
        if style_id is None:
            continue
        outline = value_of(element.find(f"{W}pPr/{W}outlineLvl"))
        level = value_of(element.find(f"{W}pPr/{W}numPr/{W}ilvl"))
        styles[style_id] = Style(
            name=value_of(element.find(f"{W}name")) or style_id,
            parent=value_of(element.find(f"{W}basedOn")),
            outline=None if outline is None else int(outline),
            number_id=value_of(element.find(f"{W}pPr/{W}numPr/{W}numId")),
            level=None if level is None else int(level),
        )
    return styles


def _notes(text: WordText, root: _Element | None, kind: str) -> dict[tuple[str, str], list[str]]:
    """Return the paragraphs of each footnote. The separators between text and footnotes have a type."""
    if root is None:
        return {}
    return {
        (kind, value_of(element, "id") or ""): [line for line in text._cell_lines(element) if line]
        for element in root.findall(f"{W}{kind}")
        if value_of(element, "type") in (None, "normal")
    }
