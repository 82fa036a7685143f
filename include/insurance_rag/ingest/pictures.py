"""Render the pages of PDFs as small pictures for the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

QUALITY = 40
WIDTHS = (760, 620, 500)
"""Widths of a page in pixels, the best first. Below the last one, text is not readable."""
BYTES_PER_PIXEL = 0.085
"""Size of a JPEG in shades of gray of a page full of text, measured on policies."""
MAX_HEIGHT = 4000
"""Height of a picture in pixels beyond which it gets narrower, so that a page of enormous height needs no memory."""
PAGE_HEIGHT = 1.42
"""Height of a page relative to its width."""


def page_pictures(pages_of: Sequence[tuple[Path, int]], megabytes: float) -> list[dict[int, str]]:
    """Return for each PDF the pictures of its pages as data URLs, by page number.

    `pages_of` are paths and numbers of pages. The width is chosen so that all pictures together have about `megabytes`.
    Where that is not enough for a readable width, later pages have no picture.
    """
    budget = megabytes * 1e6 * 3 / 4  # base64 needs four bytes for three
    n_pages = sum(n for _, n in pages_of)
    width = next((w for w in WIDTHS if n_pages * _expected_bytes(w) <= budget), WIDTHS[-1])
    pictures: list[dict[int, str]] = []
    for path, n in pages_of:
        pictures.append({})
        if n and budget > 0:
            for page, jpeg in _render(path, n, width, budget).items():
                budget -= len(jpeg)
                pictures[-1][page] = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    return pictures


def _expected_bytes(width: int) -> float:
    return width * width * PAGE_HEIGHT * BYTES_PER_PIXEL


def _render(path: Path, n_pages: int, width: int, budget: float) -> dict[int, bytes]:
    """Return the first pages as JPEG until the budget is used up."""
    import pypdfium2

    found: dict[int, bytes] = {}
    document = pypdfium2.PdfDocument(path)
    try:
        for i in range(min(n_pages, len(document))):
            page = document[i]
            scale = min(width / max(page.get_width(), 1), MAX_HEIGHT / max(page.get_height(), 1))
            bitmap = page.render(scale=scale, grayscale=True)
            buffer = io.BytesIO()
            bitmap.to_pil().save(buffer, "JPEG", quality=QUALITY)
            bitmap.close()
            page.close()
            budget -= buffer.tell()
            if budget < 0:
                break
            found[i + 1] = buffer.getvalue()
    finally:
        document.close()
    return found
