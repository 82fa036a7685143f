"""The metrics: what each counts, among which answers."""

from __future__ import annotations

import re

import pytest
from tests.promotion.evaluations import row

from insurance_rag.core.records import CheckInfo, MetricInfo, Rate, ScoredAnswer
from insurance_rag.core.registry import registry
from insurance_rag.evaluation.checks import ordered_checks
from insurance_rag.evaluation.metrics import METRICS, ordered_metrics
from insurance_rag.evaluation.summary import summarize

ANSWERED = row("Base", 1, wrong=False)
INVENTED = row("Base", 2, wrong=True)
FALSELY_REFUSED = row("Base", 3, wrong=False, refusal="full")
HEDGED = row("Base", 4, wrong=False, refusal="partial")
SILENT = row("Base", 5, wrong=False).model_copy(update={"answer": ""})
RIGHTLY_REFUSED = row("Base", 6, wrong=False, refusal="full", answerable=False)
NOT_REFUSED = row("Base", 7, wrong=True, answerable=False)
MISSED_BY_RETRIEVER = row("Base", 8, wrong=False, refusal="full").model_copy(update={"gold_in_context": False})
WITH_NUMBERS = row("Base", 9, wrong=False).model_copy(update={"number_accuracy": True})
CUT = row("Base", 10, wrong=False).model_copy(update={"stop_cut": "###"})
ROWS = [
    ANSWERED, INVENTED, FALSELY_REFUSED, HEDGED, SILENT, RIGHTLY_REFUSED, NOT_REFUSED, MISSED_BY_RETRIEVER,
    WITH_NUMBERS, CUT,
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "counted", "n"),
    [
        ("hallucination", [INVENTED, NOT_REFUSED], 10),
        ("raw_hallucination", [INVENTED, NOT_REFUSED], 10),
        ("faulty", [INVENTED, FALSELY_REFUSED, SILENT, NOT_REFUSED], 10),
        ("false_refusal", [FALSELY_REFUSED], 7),
        ("missed_refusal", [NOT_REFUSED], 2),
        ("partial_refusal", [HEDGED], 10),
        ("number_accuracy", [WITH_NUMBERS], 1),
        ("retrieval_miss", [MISSED_BY_RETRIEVER], 8),
        ("stop_cut", [CUT], 10),
        ("empty", [SILENT], 10),
    ],
)
def test_what_a_metric_counts(name: str, counted: list[ScoredAnswer], n: int) -> None:
    metric = METRICS[name]
    rate = metric.rate(ROWS)
    assert (rate.count, rate.n) == (len(counted), n)
    assert {q for q, outcome in metric.outcomes(ROWS).items() if outcome} == {answer.question_id for answer in counted}


def test_every_entry_has_titles_and_a_description_that_is_a_sentence() -> None:
    infos: list[MetricInfo | CheckInfo] = [
        *(metric.info for metric in ordered_metrics()),
        *(check.info for check in ordered_checks()),
    ]
    for info in infos:
        assert re.search("[가-힣]", info.title_ko)
        assert info.title[:1].isupper()
        assert info.description.endswith(".")


def test_the_summary_has_every_metric_and_check_with_its_definition() -> None:
    summary = summarize(ROWS, ["Base"])
    names = list(registry("metric").names)
    assert sorted(summary.metrics) == sorted(summary.models["Base"].rates) == sorted(names)
    assert next(iter(summary.metrics)) == "correct"
    assert sorted(summary.checks) == sorted(registry("check").names)
    assert not summary.checks["empty"].hallucination
    assert summary.models["Base"].by_type["unanswerable"]["missed_refusal"] == Rate(
        count=1, n=2, rate=0.5, low=0.0945, high=0.9055, clusters=2, design_effect=1.0
    )
