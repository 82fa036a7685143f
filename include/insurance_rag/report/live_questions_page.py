"""Render the report about imported live questions: how they differ from the frozen set, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from insurance_rag.core.files import atomic_write
from insurance_rag.core.records.live_questions import LiveReport, QuestionStats
from insurance_rag.korean.personal_data import RULES
from insurance_rag.report.render import render_page
from insurance_rag.report.texts import bilingual
from insurance_rag.report.view import View

MAX_PRODUCTS = 20
FORM_TITLES = {"polite": ("~요", "polite"), "formal": ("~니다", "formal"), "casual": ("반말", "casual"),
               "keywords": ("단어 나열", "keywords")}  # fmt: skip


class ShareRow(View):
    """A share of the live questions next to that of the frozen set."""

    title_ko: str
    title: str
    live: float
    frozen: float | None


def write_live_page(path: Path, report: LiveReport) -> None:
    """Write the page. It has no texts of customers, only counts, headings of chunks and single words."""
    values = {
        "report": report,
        "b": lambda ko, en: bilingual({"ko": ko, "en": en}),
        "lengths": _shares(report, "lengths"),
        "forms": _shares(report, "forms"),
        "products": _shares(report, "products")[:MAX_PRODUCTS],
        "rules": [(rule.title_ko, rule.title, report.personal_data.get(rule.name, 0)) for rule in RULES],
    }
    with atomic_write(path) as f:
        f.write(render_page("live_questions.html.j2", values))


def _shares(report: LiveReport, field: str) -> list[ShareRow]:
    """Return one row per name, in the order of the live questions, then what only the frozen set has."""
    live = _field(report.live, field)
    frozen = _field(report.frozen, field) if report.frozen else None
    names = dict.fromkeys([*live, *(frozen or {})])
    return [
        ShareRow(
            title_ko=FORM_TITLES.get(name, (name, name))[0],
            title=FORM_TITLES.get(name, (name, name))[1],
            live=live.get(name, 0.0),
            frozen=None if frozen is None else frozen.get(name, 0.0),
        )
        for name in names
    ]


def _field(stats: QuestionStats, field: str) -> Mapping[str, float]:
    shares: Mapping[str, float] = getattr(stats, field)
    return shares
