"""The report as one self-contained page: no request leaves it, and nothing of the run reaches it unescaped.

Text, styles and script are files in templates/; the script is allowed by its hash alone, so that markup which slipped
through the escaping could still not run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from insurance_rag.core.artifacts import artifact
from insurance_rag.core.files import atomic_write
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report import charts
from insurance_rag.report.collect import collect
from insurance_rag.report.reader import plain
from insurance_rag.report.view import Band, Funnel, Rate, Report

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Live:
    """Where a page that Airflow serves asks for news and for a rerun; relative URLs."""

    poll: str
    clear: str
    run_id: str
    version: str


def render_report(run: RunFolder, out: Path) -> dict[str, Any]:
    """Write the report of a run folder, however far the run got; returns the file as an artifact."""
    report = collect(run)
    with atomic_write(out, "wb") as f:
        f.write(render_html(report).encode())
    rows = len(report.questions or ())
    decision = report.verdict.decision if report.verdict else None
    return artifact(out, rows=rows, decision=decision, problems=report.problems)


def render_html(report: Report, live: Live | None = None) -> str:
    """The whole page; with `live` it also asks Airflow for news while it is open."""
    css = _file("report.css")
    js = _file("report.js") + (_file("live.js") if live else "")
    data = {
        "texts": texts(),
        "models": list(dict.fromkeys(a.model for q in report.questions or () for a in q.answers)),
        "questions": [q.model_dump() for q in report.questions or ()],
        "clauses": {name: clause.model_dump() for name, clause in report.clauses.items()},
    }
    page = _environment().get_template("report.html.j2")
    csp = policy(css, js, requests="'self'" if live else "'none'")
    return page.render(report=report, live=live, css=Markup(css), js=Markup(js), data=json_block(data), csp=csp)


def render_live_parts(report: Report) -> str:
    """The parts of the page that change every second."""
    environment = _environment()
    parts = ("progress.html.j2", "books.html.j2")
    return "".join(environment.get_template(name).render(report=report, live=True) for name in parts)


def render_page(template: str, **values: Any) -> str:
    """Another page of the same look (the comparison of runs)."""
    css, js = _file("report.css"), _file("report.js")
    page = _environment().get_template(template)
    return page.render(
        css=Markup(css),
        js=Markup(js),
        csp=policy(css, js, forms="'self'"),
        data=json_block({"texts": texts()}),
        **values,
    )


def policy(css: str, js: str, requests: str = "'none'", forms: str = "'none'") -> str:
    """Content-Security-Policy: this style and this script, by hash; requests only to Airflow, where it is live."""
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, js))
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        f"connect-src {requests}; form-action {forms}; base-uri 'none'"
    )


def json_block(data: Any) -> Markup:
    """JSON that may stand inside a <script>: no `<`, so neither `</script>` nor `<!--` can occur."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(re.sub("[<>&\u2028\u2029]", lambda m: f"\\u{ord(m[0]):04x}", text))


@cache
def texts() -> dict[str, dict[str, str]]:
    """Every sentence of the page in Korean and English."""
    result: dict[str, dict[str, str]] = json.loads(_file("texts.json"))
    return result


def translate(key: str, *, fallback: str | None = None, **values: Any) -> Markup:
    """Both languages of a text; the style sheet shows one. A name without a text is shown as it is."""
    text = texts().get(key)
    if text is None:
        return escape(key if fallback is None else fallback)
    spans = (
        Markup('<span class="{0}" lang="{0}">{1}</span>').format(lang, text[lang].format(**values)) for lang in text
    )
    return Markup("").join(spans)


def explain(report: Report) -> Markup:
    """Why the gate decided so, in one sentence, from the rules that decided and the paired difference."""
    verdict = report.verdict
    assert verdict is not None
    outcome = {"promote": "pass", "refuse": "fail", "cannot_tell": "unknown"}[verdict.decision]
    rules = [rule.name for rule in verdict.rules if rule.outcome == outcome]
    if not rules:
        return escape(verdict.reason)
    key = f"why_{verdict.decision}" + ("_more" if verdict.more_questions else "")
    tests = report.evaluation.tests if report.evaluation else []
    pair = (verdict.champion, verdict.model)
    test = next((t for t in tests if t.metric == "hallucination" and (t.a, t.b) == pair), None)
    spans = []
    for lang in ("ko", "en"):
        named = ", ".join(texts().get(f"rule_{name}", {}).get(lang, name) for name in rules)
        difference = "" if test is None else texts()["why_difference"][lang].format(
            champion=test.a, d=points(test.difference), low=points(test.low), high=points(test.high), n=count(test.n)
        )  # fmt: skip
        sentence = texts()[key][lang].format(rules=named, difference=difference, more=verdict.more_questions)
        spans.append(Markup('<span class="{0}" lang="{0}">{1}</span>').format(lang, sentence.strip()))
    return Markup("").join(spans)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        t=translate,
        higher_is_better=charts.HIGHER_IS_BETTER,
        full_axis=charts.Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0)),
        row_band=_row_band,
        explain=explain,
        **{
            f.__name__: f
            for f in (
                charts.evaluation_axis,
                charts.difference_axis,
                charts.loss_axes,
                charts.curves,
                charts.funnel_band,
                charts.total,
            )
        },
    )
    environment.filters.update(
        percent=percent, points=points, span=span, count=count, pvalue=pvalue, duration=duration, plain=plain
    )
    return environment


def _row_band(row: Band, funnel: Funnel, widest: int) -> list[charts.Segment]:
    """A shard's or type's band in the order and shades of the whole funnel, on the scale of the widest."""
    return charts.band(row.kept, [(d.reason, row.drops.get(d.reason, 0)) for d in funnel.drops], max(widest, 1))


def count(value: float) -> str:
    return f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def points(value: float | None) -> str:
    """A difference of rates in percentage points, with its sign."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−") if round(value, 3) else "0"


def span(rate: Rate) -> str:
    return "–" if rate.low is None or rate.high is None else f"{100 * rate.low:.1f} – {100 * rate.high:.1f}"


def pvalue(value: float | None) -> str:
    if value is None:
        return "–"
    return "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@cache
def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
