"""Render the report as one self-contained page. It sends no requests, and strings from a run never become markup.

The page's strings, styles and scripts are files in templates/. The Content-Security-Policy allows only the script with
the right hash. Injected markup therefore cannot run code, even if a string is not escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup
from pydantic import JsonValue

from insurance_rag.core.artifacts import describe
from insurance_rag.core.files import atomic_write
from insurance_rag.core.html_pages import page_environment
from insurance_rag.core.records import ReportArtifact
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report import charts, formatting
from insurance_rag.report.collect import collect
from insurance_rag.report.recipes_section import recipe_difference_axis, spread_axis
from insurance_rag.report.texts import (
    TEMPLATES,
    page_texts,
    readable,
    show_label,
    translate,
)
from insurance_rag.report.usage_section import other_models, total_usage
from insurance_rag.report.verdict_section import difference_rules_axis, explain, other_challengers, rule_text, undecided
from insurance_rag.report.view import Report


@dataclass(frozen=True)
class Live:
    """Data that a page served by Airflow needs to update itself and rerun failed tasks. The URLs are relative."""

    updates_url: str
    clear_url: str
    run_id: str
    version: str
    """Value of `results_version` for the run when the page was rendered."""
    can_rerun: bool
    """Whether the run has failed tasks that this user may clear."""


def render_report(run: RunFolder, out: Path) -> ReportArtifact:
    """Write the report on a run to `out`. The run may be unfinished."""
    report = collect(run)
    with atomic_write(out, "wb") as f:
        f.write(render_html(report).encode())
    return describe(
        out,
        ReportArtifact,
        questions=len(report.questions or ()),
        decision=report.decision.decision if report.decision else None,
        problems=report.problems,
    )


def render_html(report: Report, live: Live | None = None) -> str:
    """Return the whole page as HTML. With `live`, the open page polls Airflow for updates."""
    css = _file("report.css")
    js = _file("report.js") + (_file("live.js") if live else "")
    page = _environment().get_template("report.html.j2")
    csp = policy(css, js, requests="'self'" if live else "'none'")
    data = json_block(_page_data(report))
    return page.render(report=report, live=live, css=Markup(css), js=Markup(js), data=data, csp=csp)


def _page_data(report: Report) -> dict[str, JsonValue]:
    """Return the data that the page's script reads: strings, questions with answers, and chunks."""
    checks = report.evaluation.checks if report.evaluation else {}
    kinds = report.evaluation.problem_kinds if report.evaluation else {}
    return {
        "texts": {key: dict(text) for key, text in page_texts().items()},
        "checks": {name: {"ko": label.title_ko, "en": label.title} for name, label in checks.items()},
        "problems": {name: {"ko": label.title_ko, "en": label.title} for name, label in kinds.items()},
        "models": [*dict.fromkeys(a.model for q in report.questions or () for a in q.answers)],
        "questions": [question.model_dump() for question in report.questions or ()],
        "chunks": {name: chunk.model_dump() for name, chunk in report.chunks.items()},
    }


def render_live_parts(report: Report) -> str:
    """Return the HTML of the sections that change while a run is in progress."""
    environment = _environment()
    parts = ("progress.html.j2", "usage.html.j2")
    return "".join(environment.get_template(name).render(report=report, live=True) for name in parts)


def render_page(template: str, values: Mapping[str, object]) -> str:
    """Return a page rendered from `template` with the report's styles and script, e.g. the comparison of runs."""
    css, js = _file("report.css"), _file("report.js")
    texts: JsonValue = {key: dict(text) for key, text in page_texts().items()}
    data = json_block({"texts": texts, "checks": {}, "problems": {}})
    csp = policy(css, js, forms="'self'")
    return _environment().get_template(template).render(css=Markup(css), js=Markup(js), csp=csp, data=data, **values)


def policy(css: str, js: str, requests: str = "'none'", forms: str = "'none'") -> str:
    """Return a Content-Security-Policy that allows only this style sheet and this script, identified by hash.

    `requests` is the CSP source to which the page may send requests. `forms` is the one to which it may submit forms.
    """
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js))
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        f"connect-src {requests}; form-action {forms}; base-uri 'none'"
    )


def json_block(data: JsonValue) -> Markup:
    """Return JSON for a <script> element. `<` is escaped, so neither `</script>` nor `<!--` can occur."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(re.sub("[<>&\u2028\u2029]", lambda m: f"\\u{ord(m[0]):04x}", text))


@cache
def _environment() -> Environment:
    environment = page_environment(TEMPLATES)
    functions = (
        charts.evaluation_axis, charts.difference_axis, charts.loss_axes, charts.loss_curves,
        charts.preference_curves, charts.funnel_band,
        charts.row_band, total_usage, show_label, spread_axis, recipe_difference_axis, explain, rule_text,
        difference_rules_axis, other_challengers, undecided, other_models,
    )  # fmt: skip
    environment.globals.update({function.__name__: function for function in functions})
    environment.globals.update(t=translate, full_axis=charts.FULL_AXIS)
    filters = (
        formatting.percent, formatting.points, formatting.interval_text, formatting.range_text, formatting.count,
        formatting.pvalue, formatting.duration, formatting.plain, readable,
    )  # fmt: skip
    environment.filters.update({function.__name__: function for function in filters})
    return environment


@cache
def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
