"""The metrics: what each counts, among which answers."""

from __future__ import annotations

import re

import pytest
from tests.promotion.evaluations import row

from insurance_rag.core.records import CheckInfo, Correctness, MetricInfo, Rate, ScoredAnswer
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
HEDGED_UNANSWERABLE = row("Base", 11, wrong=True, refusal="partial", answerable=False)
CUT = row("Base", 10, wrong=False).model_copy(update={"stop_cut": "###"})
ROWS = [
    ANSWERED, INVENTED, FALSELY_REFUSED, HEDGED, SILENT, RIGHTLY_REFUSED, NOT_REFUSED, MISSED_BY_RETRIEVER,
    WITH_NUMBERS, CUT, HEDGED_UNANSWERABLE,
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "counted", "n"),
    [
        ("hallucination", [INVENTED, NOT_REFUSED, HEDGED_UNANSWERABLE], 11),
        ("raw_hallucination", [INVENTED, NOT_REFUSED, HEDGED_UNANSWERABLE], 11),
        ("faulty", [INVENTED, FALSELY_REFUSED, SILENT, NOT_REFUSED, HEDGED_UNANSWERABLE], 11),
        ("false_refusal", [FALSELY_REFUSED], 7),
        ("missed_refusal", [NOT_REFUSED, HEDGED_UNANSWERABLE], 3),
        ("partial_refusal", [HEDGED, HEDGED_UNANSWERABLE], 11),
        ("number_accuracy", [WITH_NUMBERS], 1),
        ("retrieval_miss", [MISSED_BY_RETRIEVER], 8),
        ("stop_cut", [CUT], 11),
        ("empty", [SILENT], 11),
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
        count=2, n=3, rate=0.6667, low=0.2077, high=0.9385, clusters=3, design_effect=1.0
    )


def test_a_partial_refusal_that_asserts_nothing_is_not_missed() -> None:
    asserting_nothing = HEDGED_UNANSWERABLE.model_copy(update={"correctness": Correctness(correct=True)})
    assert METRICS["missed_refusal"].rate([asserting_nothing]).count == 0


def test_the_summary_says_that_answers_cannot_be_judged() -> None:
    unknown = Correctness(correct=None, cannot_judge="the question has no reference answer")
    rows = [answer.model_copy(update={"correctness": unknown}) for answer in (ANSWERED, INVENTED)]
    summary = summarize([*rows, RIGHTLY_REFUSED], ["Base"])
    (note,) = (note for note in summary.notes if "cannot judge" in note)
    assert "2 of 2 answerable questions are correct: the question has no reference answer" in note
