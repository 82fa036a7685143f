"""The funnel as a picture: one band of all rows, a slice for every reason, the kept ones in front. Plain SVG."""

from __future__ import annotations

from html import escape
from typing import Any

WIDTH, BAND, LINE = 900, 34, 22
KEPT_COLOUR = "#2563a8"


def render_funnel(report: dict[str, Any]) -> str:
    """The band above, below it a line for every reason that dropped a row, with its count and share."""
    rows = max(1, report["rows"])
    slices = [("kept", report["kept"]), *((name, n) for name, n in report["drops"].items() if n)]
    height = BAND + 28 + LINE * len(slices)
    parts = []
    x = 0.0
    for place, (name, n) in enumerate(slices):
        width = WIDTH * n / rows
        colour = _colour(place)
        label = f"{name}: {n:,} ({100 * n / rows:.1f} %)"
        box = f'x="{x:.2f}" width="{width:.2f}" height="{BAND}" fill="{colour}"'
        parts.append(f"<rect {box}><title>{escape(label)}</title></rect>")
        y = BAND + 28 + LINE * place
        parts.append(f'<rect x="0" y="{y - 11}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="20" y="{y}">{escape(label)}</text>')
        x += width
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-size="14" '
        f'font-family="system-ui, sans-serif" fill="#222"><title>{report["kept"]:,} of {rows:,} rows kept</title>'
        f"{''.join(parts)}</svg>\n"
    )


def _colour(place: int) -> str:
    """Greys that tell neighbours apart; the accent is for what is kept."""
    return KEPT_COLOUR if place == 0 else ("#8a8f98", "#c3c7cd")[place % 2]
