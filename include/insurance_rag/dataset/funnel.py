"""Draws the funnel as SVG: one bar with a slice for the kept rows, followed by a slice for each drop reason."""

from __future__ import annotations

from html import escape

from insurance_rag.core.records import ValidationReport
from insurance_rag.dataset.balance import drop_title

WIDTH, BAND_HEIGHT, LINE_HEIGHT = 900, 34, 22
KEPT_COLOUR = "#2563a8"
DROPPED_COLOURS = ("#8a8f98", "#c3c7cd")


def render_funnel(report: ValidationReport) -> str:
    """Return the SVG. A legend below the bar gives the count and the percentage for each slice."""
    rows = max(1, report.rows)
    slices = [("kept", report.kept)]
    slices += [(drop_title(report, name), n) for name, n in report.drops.items() if n]
    top = BAND_HEIGHT + 28
    parts = []
    x = 0.0
    for place, (title, n) in enumerate(slices):
        width = WIDTH * n / rows
        colour = DROPPED_COLOURS[place % 2] if place else KEPT_COLOUR
        label = escape(f"{title}: {n:,} ({100 * n / rows:.1f} %)")
        y = top + LINE_HEIGHT * place
        parts += [
            f'<rect x="{x:.2f}" width="{width:.2f}" height="{BAND_HEIGHT}" fill="{colour}">'
            f"<title>{label}</title></rect>",
            f'<rect x="0" y="{y - 11}" width="12" height="12" fill="{colour}"/>',
            f'<text x="20" y="{y}">{label}</text>',
        ]
        x += width
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + LINE_HEIGHT * len(slices)}" role="img" '
        f'font-size="14" font-family="system-ui, sans-serif" fill="#222">'
        f"<title>{report.kept:,} of {rows:,} rows kept</title>{''.join(parts)}</svg>\n"
    )
