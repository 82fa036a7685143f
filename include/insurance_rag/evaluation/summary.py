"""Summarize scored answers: rates with confidence intervals, paired tests, and notes on the number of questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from statistics import median

from insurance_rag.core.metrics import Metric, question_clusters
from insurance_rag.core.records import ModelSummary, PairedTest, Rate, ScoredAnswer, SummaryFigures
from insurance_rag.core.stats import holm, paired_difference, questions_needed, visible_difference
from insurance_rag.evaluation.checks import ordered_checks
from insurance_rag.evaluation.correctness.kinds import PROBLEM_KINDS
from insurance_rag.evaluation.metrics import METRICS, ordered_metrics

Rows = Sequence[ScoredAnswer]
POWER_DIFFERENCES = (0.05, 0.10, 0.15, 0.20)
"""Differences between two rates. The summary reports how many questions are needed to detect each of them."""


def summarize(rows: Rows, models: Sequence[str], warn_below: int = 200) -> SummaryFigures:
    """Return the summary of the answers for one context source. `models` sets the order of the models.

    With fewer than `warn_below` questions, the summary contains a warning.
    """
    questions = {row.question_id: row.answerable for row in rows}
    n = len(questions)
    summaries = {model: _model_summary([row for row in rows if row.model == model]) for model in models}
    tests = [test for metric in ordered_metrics() if metric.compared for test in _paired_tests(rows, models, metric)]
    effect = _median_design_effect(tests, summaries)
    return SummaryFigures(
        questions=n,
        answerable=sum(questions.values()),
        unanswerable=n - sum(questions.values()),
        notes=list(_notes(rows, n, warn_below, effect)),
        metrics={metric.name: metric.info for metric in ordered_metrics()},
        checks={check.name: check.info for check in ordered_checks()},
        problems=dict(PROBLEM_KINDS),
        models=summaries,
        tests=tests,
        power={f"{d:.0%}": questions_needed(d, design_effect=effect or 1.0) for d in POWER_DIFFERENCES},
        design_effect=None if effect is None else round(effect, 2),
    )


def _notes(rows: Rows, n: int, warn_below: int, effect: float | None) -> Iterator[str]:
    """Yield the notes on the questions: too few, too few that can be judged, and clusters with the design effect."""
    if n < warn_below:
        yield too_few_questions(n, warn_below, effect or 1.0)
    answerable = {row.question_id for row in rows if row.answerable}
    unjudged = {row.question_id: row.correctness for row in rows if row.answerable and row.correctness.correct is None}
    if unjudged:
        reasons = dict.fromkeys(found.cannot_judge or "unknown reason" for found in unjudged.values())
        yield (
            f"cannot judge whether answers to {len(unjudged)} of {len(answerable)} answerable questions are correct: "
            f"{'; '.join(reasons)}; the rates of correct answers leave them out"
        )
    clusters = len(set(question_clusters(rows).values()))
    if clusters < n and effect is not None:
        yield (
            f"{n} questions form {clusters} clusters on the same chunks or document; with the median design effect of "
            f"{effect:.2f}, they are as informative as {n / effect:.0f} independent questions"
        )


def _median_design_effect(tests: Sequence[PairedTest], models: Mapping[str, ModelSummary]) -> float | None:
    """Return the median design effect of the tests, or of the rates that can be compared if there are no tests."""
    compared = [metric.name for metric in ordered_metrics() if metric.compared]
    found: list[PairedTest | Rate] = list(tests) or [
        model.rates[name] for model in models.values() for name in compared
    ]
    effects = [figures.design_effect for figures in found if figures.design_effect is not None]
    return median(effects) if effects else None


def too_few_questions(n: int, wanted: int, design_effect: float = 1.0) -> str:
    """Return a warning that `n` questions are too few to detect small differences. It recommends `wanted` or more."""
    visible = visible_difference(n, design_effect=design_effect)
    size = f"smaller than {100 * visible:.0f} points" if visible else "of any size"
    return f"only {n} questions: a difference {size} cannot be distinguished from chance; use {wanted} or more"


def rates(rows: Iterable[ScoredAnswer]) -> dict[str, Rate]:
    """Return the rates of all metrics by metric name, in display order."""
    rows = list(rows)
    return {metric.name: metric.rate(rows) for metric in ordered_metrics()}


def _model_summary(rows: Rows) -> ModelSummary:
    findings = Counter(check for row in rows for check in dict.fromkeys(finding.check for finding in row.findings))
    return ModelSummary(
        rates=rates(rows),
        findings=dict(findings.most_common()),
        problems=_problems(rows),
        by_type=_rates_by(rows, lambda row: row.type),
        by_product=_rates_by(rows, lambda row: row.product),
        new_tokens=sum(row.new_tokens for row in rows),
        seconds=round(sum(row.seconds for row in rows), 2),
    )


def _problems(rows: Rows) -> dict[str, int]:
    """Return how many of the answers that are not correct have each kind of problem, largest number first."""
    correct = METRICS["correct"]
    wrong = [row for row in rows if correct.population(row) and not correct.counted(row)]
    kinds = Counter(kind for row in wrong for kind in dict.fromkeys(p.kind for p in row.correctness.problems))
    return dict(kinds.most_common())


def _rates_by(rows: Rows, group: Callable[[ScoredAnswer], str]) -> dict[str, dict[str, Rate]]:
    names = dict.fromkeys(group(row) for row in rows)
    return {name: rates(row for row in rows if group(row) == name) for name in names}


def _paired_tests(rows: Rows, models: Sequence[str], metric: Metric) -> list[PairedTest]:
    """Return one test per pair of models. The p values are Holm-corrected for the number of pairs."""
    outcomes = {model: metric.outcomes(row for row in rows if row.model == model) for model in models}
    clusters = question_clusters([row for row in rows if metric.population(row)])
    pairs = list(combinations(models, 2))
    differences = [paired_difference(outcomes[a], outcomes[b], clusters) for a, b in pairs]
    adjusted = holm([difference.p for difference in differences])
    return [
        PairedTest(metric=metric.name, a=a, b=b, p_holm=p_holm, **dict(difference))
        for (a, b), difference, p_holm in zip(pairs, differences, adjusted, strict=True)
    ]
