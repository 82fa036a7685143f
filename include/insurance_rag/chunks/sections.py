"""The section of a chunk: the part of a policy that is held out as a whole if there are too few documents."""

from __future__ import annotations

import re

from insurance_rag.core.records import Chunk, HeldOut

_ARTICLE = re.compile(r"제\s?\d+\s?조")


def section_name(chunk: Chunk) -> str:
    """Return the document and the headings between the product and the article, joined by ` > `.

    For general conditions (보통약관), this is a 관; for a rider (특별약관), the whole rider, unless it also has parts.
    Without article headings, the last of several headings counts as the chunk's own and is left out.

    Example: `pet.pdf > 보통약관 > 제2관 보험금의 지급`.
    """
    headings = [heading for each in chunk.metadata.breadcrumbs.split(">")[1:] if (heading := each.strip())]
    article = next((n for n, heading in enumerate(headings) if _ARTICLE.match(heading)), None)
    if article is None:
        article = max(1, len(headings) - 1)
    return " > ".join([chunk.metadata.source, *headings[:article]])


def is_held_out(chunk: Chunk, held_out: HeldOut) -> bool:
    """Return whether a chunk was kept out of training: by itself, with its section or with its document."""
    return (
        chunk.metadata.source in held_out.documents
        or chunk.chunk_id in held_out.chunks
        or (bool(held_out.sections) and section_name(chunk) in held_out.sections)
    )
