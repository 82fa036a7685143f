"""The product and the section that a chunk belongs to, as prompts show them.

The text of a chunk rarely says which product it is from, and sibling products have articles with the same heading.
Teacher prompts, training rows and evaluation prompts therefore show the same two lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from insurance_rag.core.records import Chunk
from insurance_rag.korean.text import remove_whitespace

MAX_PRODUCTS = 3
"""Maximum number of products in the header of a text that several products share."""


def product_name(chunk: Chunk) -> str:
    """Return the company and product for use in questions, e.g. `한빛생명 한빛 든든 암보험`."""
    name = chunk.metadata.breadcrumbs.split(">")[0].strip()
    company = chunk.metadata.company.strip()
    return name if name.startswith(company) else f"{company} {name}".strip()


def section_path(chunk: Chunk) -> str:
    """Return where in the policy the chunk is, e.g. `보통약관 > 제2관 보험금의 지급`.

    The product and a last heading with which the chunk's text begins are left out, because the prompt contains both.
    """
    headings = [heading.strip() for heading in chunk.metadata.breadcrumbs.split(">")[1:]]
    if headings and remove_whitespace(chunk.text).startswith(remove_whitespace(headings[-1])):
        headings = headings[:-1]
    return " > ".join(heading for heading in headings if heading)


def chunk_header(chunk: Chunk, same_text: Sequence[Chunk] = ()) -> str:
    """Return the two lines above a chunk: `상품: 한빛생명 한빛 든든 암보험` and `위치: 보통약관 > 제2관`.

    `same_text` are chunks of other products with the same text. Their products are named, too, up to MAX_PRODUCTS. A
    line without content is left out.
    """
    products = dict.fromkeys(name for each in (chunk, *same_text) if (name := product_name(each)))
    lines = (("상품", ", ".join([*products][:MAX_PRODUCTS])), ("위치", section_path(chunk)))
    return "\n".join(f"{label}: {text}" for label, text in lines if text)
