"""From scored answers to the comparison: rates with intervals, paired tests, and a warning where n is too small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

from insurance_rag.core.stats import holm, mcnemar_exact, paired_bootstrap, questions_needed, rate, visible_difference
from insurance_rag.evaluation.scoring import ScoredAnswer

Rows = Sequence[ScoredAnswer]
Test = Callable[[ScoredAnswer], bool]


def _asked(row: ScoredAnswer) -> bool:
    return True


def _judged(row: ScoredAnswer) -> bool:
    return row.answerable and bool(row.gold_in_context)


def _false_refusal(row: ScoredAnswer) -> bool:
    return _judged(row) and row.refusal == "full"


#: metric -> (what is counted, among which rows)
METRICS: dict[str, tuple[Test, Test]] = {
    "hallucination": (lambda row: row.hallucinated, _asked),
    "raw_hallucination": (lambda row: row.raw_hallucinated, _asked),
    # Saying nothing is no hallucination and no answer either: a model must not win by it.
    "faulty": (lambda row: row.hallucinated or not row.answer or _false_refusal(row), _asked),
    "false_refusal": (lambda row: row.refusal == "full", _judged),
    "missed_refusal": (lambda row: row.refusal == "none" and bool(row.answer), lambda row: not row.answerable),
    "partial_refusal": (lambda row: row.refusal == "partial", _asked),
    "number_accuracy": (lambda row: bool(row.number_accuracy), lambda row: row.number_accuracy is not None),
    "retrieval_miss": (lambda row: not row.gold_in_context, lambda row: row.gold_in_context is not None),
    "stop_cut": (lambda row: row.stop_cut is not None, _asked),
    "empty": (lambda row: not row.answer, _asked),
}
#: Metrics in which the models are tested against each other.
COMPARED = ("hallucination", "faulty", "false_refusal", "missed_refusal")


def summarize(rows: Rows, models: Sequence[str], warn_below: int = 200, draws: int = 2000) -> dict[str, Any]:
    """The figures of summary.json that come from the answers of one context source; `models` gives the order.

    {questions, answerable, unanswerable, notes, models: {NAME: {rates, findings, by_type, by_product}}, tests, power}
    """
    questions = {row.question_id: row.answerable for row in rows}
    n = len(questions)
    return {
        "questions": n,
        "answerable": sum(questions.values()),
        "unanswerable": n - sum(questions.values()),
        "notes": [too_few(n, warn_below)] if n < warn_below else [],
        "models": {model: _model([row for row in rows if row.model == model]) for model in models},
        "tests": [test for metric in COMPARED for test in _tests(rows, models, metric, draws)],
        "power": {f"{d:.0%}": questions_needed(d) for d in (0.05, 0.10, 0.15, 0.20)},
    }


def too_few(n: int, wanted: int) -> str:
    seen = visible_difference(n)
    much = f"smaller than {100 * seen:.0f} points" if seen else "of any size"
    return f"only {n} questions: a difference {much} cannot be told from chance; ask {wanted} or more"


def _model(rows: Rows) -> dict[str, Any]:
    findings = Counter(check for row in rows for check in {finding.check for finding in row.findings})
    return {
        "rates": rates(rows),
        "findings": dict(findings.most_common()),
        "by_type": _by(rows, lambda row: row.type),
        "by_product": _by(rows, lambda row: row.product),
        "new_tokens": sum(row.new_tokens for row in rows),
        "seconds": round(sum(row.seconds for row in rows), 2),
    }


def rates(rows: Iterable[ScoredAnswer]) -> dict[str, Any]:
    """Every metric as {count, n, rate, low, high}."""
    rows = list(rows)
    figures = {}
    for metric, (counted, among) in METRICS.items():
        population = [row for row in rows if among(row)]
        figures[metric] = rate(sum(counted(row) for row in population), len(population))
    return figures


def _by(rows: Rows, group: Callable[[ScoredAnswer], str]) -> dict[str, Any]:
    names = dict.fromkeys(group(row) for row in rows)
    return {name: rates(row for row in rows if group(row) == name) for name in names}


def _tests(rows: Rows, models: Sequence[str], metric: str, draws: int) -> list[dict[str, Any]]:
    """Every two models on the questions both answered; p is McNemar's exact, p_holm the same over all pairs."""
    counted, among = METRICS[metric]
    outcomes = {m: {r.question_id: counted(r) for r in rows if r.model == m and among(r)} for m in models}
    tests = [
        {"metric": metric, "a": a, "b": b, **paired(outcomes[a], outcomes[b], draws)}
        for a, b in combinations(models, 2)
    ]
    for test, adjusted in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = adjusted
    return tests


def paired(a: dict[str, bool], b: dict[str, bool], draws: int = 2000, confidence: float = 0.95) -> dict[str, Any]:
    """How much more often `b` does it than `a` on their common questions: difference, interval [low, high], exact p.

    `questions_needed` is the number that would show a difference of this size with a power of 80 %.
    """
    common = sorted(a.keys() & b.keys())
    only_a = sum(a[q] and not b[q] for q in common)
    only_b = sum(b[q] and not a[q] for q in common)
    n = len(common)
    difference = (only_b - only_a) / n if n else None
    low, high = paired_bootstrap([b[q] for q in common], [a[q] for q in common], draws, confidence) or (None, None)
    rounded = [None if x is None else round(x, 4) for x in (difference, low, high)]
    return {
        "n": n,
        "only_a": only_a,
        "only_b": only_b,
        "difference": rounded[0],
        "low": rounded[1],
        "high": rounded[2],
        "p": mcnemar_exact(only_a, only_b),
        "questions_needed": questions_needed(difference, (only_a + only_b) / n) if difference else None,
    }
