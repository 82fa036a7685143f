"""Summarize scored answers: rates with confidence intervals, paired tests, and a warning about too few questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

from insurance_rag.core.metrics import Metric
from insurance_rag.core.records import ModelSummary, PairedDifference, PairedTest, Rate, ScoredAnswer, SummaryFigures
from insurance_rag.core.stats import holm, mcnemar_exact, paired_bootstrap, questions_needed, visible_difference
from insurance_rag.evaluation.checks import ordered_checks
from insurance_rag.evaluation.metrics import ordered_metrics

Rows = Sequence[ScoredAnswer]
POWER_DIFFERENCES = (0.05, 0.10, 0.15, 0.20)
"""Differences between two rates. The summary reports how many questions are needed to detect each of them."""


def summarize(
    rows: Rows, models: Sequence[str], warn_below: int = 200, bootstrap_samples: int = 2000
) -> SummaryFigures:
    """Return the summary of the answers for one context source. `models` sets the order of the models.

    With fewer than `warn_below` questions, the summary contains a warning.
    """
    questions = {row.question_id: row.answerable for row in rows}
    n = len(questions)
    return SummaryFigures(
        questions=n,
        answerable=sum(questions.values()),
        unanswerable=n - sum(questions.values()),
        notes=[too_few_questions(n, warn_below)] if n < warn_below else [],
        metrics={metric.name: metric.info for metric in ordered_metrics()},
        checks={check.name: check.info for check in ordered_checks()},
        models={model: _model_summary([row for row in rows if row.model == model]) for model in models},
        tests=[
            test
            for metric in ordered_metrics()
            if metric.compared
            for test in _paired_tests(rows, models, metric, bootstrap_samples)
        ],
        power={f"{d:.0%}": questions_needed(d) for d in POWER_DIFFERENCES},
    )


def too_few_questions(n: int, wanted: int) -> str:
    """Return a warning that `n` questions are too few to detect small differences. It recommends `wanted` or more."""
    visible = visible_difference(n)
    size = f"smaller than {100 * visible:.0f} points" if visible else "of any size"
    return f"only {n} questions: a difference {size} cannot be distinguished from chance; use {wanted} or more"


def rates(rows: Iterable[ScoredAnswer]) -> dict[str, Rate]:
    """Return the rates of all metrics by metric name, in display order."""
    rows = list(rows)
    return {metric.name: metric.rate(rows) for metric in ordered_metrics()}


def paired_difference(
    a: Mapping[str, bool], b: Mapping[str, bool], bootstrap_samples: int = 2000, confidence: float = 0.95
) -> PairedDifference:
    """Compare the outcomes of two models on the questions that both answered.

    `a` and `b` map question ids to outcomes. The difference is positive if the outcome is more frequent in `b`. The
    p-value comes from McNemar's exact test and the confidence interval from a paired bootstrap.
    """
    common = sorted(a.keys() & b.keys())
    only_a = sum(a[q] and not b[q] for q in common)
    only_b = sum(b[q] and not a[q] for q in common)
    n = len(common)
    difference = (only_b - only_a) / n if n else None
    interval = paired_bootstrap([b[q] for q in common], [a[q] for q in common], bootstrap_samples, confidence)
    low, high = interval or (None, None)
    return PairedDifference(
        n=n,
        only_a=only_a,
        only_b=only_b,
        difference=_rounded(difference),
        low=_rounded(low),
        high=_rounded(high),
        p=mcnemar_exact(only_a, only_b),
        questions_needed=questions_needed(difference, (only_a + only_b) / n) if difference else None,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _model_summary(rows: Rows) -> ModelSummary:
    findings = Counter(check for row in rows for check in dict.fromkeys(finding.check for finding in row.findings))
    return ModelSummary(
        rates=rates(rows),
        findings=dict(findings.most_common()),
        by_type=_rates_by(rows, lambda row: row.type),
        by_product=_rates_by(rows, lambda row: row.product),
        new_tokens=sum(row.new_tokens for row in rows),
        seconds=round(sum(row.seconds for row in rows), 2),
    )


def _rates_by(rows: Rows, group: Callable[[ScoredAnswer], str]) -> dict[str, dict[str, Rate]]:
    names = dict.fromkeys(group(row) for row in rows)
    return {name: rates(row for row in rows if group(row) == name) for name in names}


def _paired_tests(rows: Rows, models: Sequence[str], metric: Metric, bootstrap_samples: int) -> list[PairedTest]:
    """Return one test per pair of models. The p-values are Holm-corrected for the number of pairs."""
    outcomes = {model: metric.outcomes(row for row in rows if row.model == model) for model in models}
    pairs = list(combinations(models, 2))
    differences = [paired_difference(outcomes[a], outcomes[b], bootstrap_samples) for a, b in pairs]
    adjusted = holm([difference.p for difference in differences])
    return [
        PairedTest(metric=metric.name, a=a, b=b, p_holm=p_holm, **dict(difference))
        for (a, b), difference, p_holm in zip(pairs, differences, adjusted, strict=True)
    ]
