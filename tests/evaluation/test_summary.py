"""The summary respects clusters (gold chunks, or documents if there are ten) and shows the design effect."""

from __future__ import annotations

import pytest
from tests.promotion.evaluations import row

from insurance_rag.core.metrics import question_clusters
from insurance_rag.core.records import ScoredAnswer
from insurance_rag.core.stats import questions_needed
from insurance_rag.evaluation.summary import summarize


def answers(model: str, wrong: int, per_chunk: int = 4, per_document: int = 100, n: int = 240) -> list[ScoredAnswer]:
    """Return answers to `n` questions. All answers about the first chunks are wrong, in total `wrong`."""
    return [
        row(model, i, wrong=i < wrong).model_copy(
            update={"cluster": f"c{i // per_chunk}", "document": f"d{i // per_document}", "gold_chunk_ids": ["c"]}
        )
        for i in range(n)
    ]


def test_the_summary_notes_clusters_and_the_design_effect() -> None:
    rows = [*answers("Base", 80), *answers("v1", 40)]
    summary = summarize(rows, ["Base", "v1"])
    assert summary.design_effect == pytest.approx(4, abs=0.2)
    assert summary.notes == [
        f"240 questions form 60 clusters on the same chunks or document; with the median design effect of "
        f"{summary.design_effect:.2f}, they are as informative as 59 independent questions"
    ]
    rate = summary.models["v1"].rates["hallucination"]
    assert rate.clusters == 60
    assert rate.design_effect == pytest.approx(4, abs=0.2)
    test = next(test for test in summary.tests if test.metric == "hallucination")
    assert (test.clusters, test.difference) == (60, -0.1667)
    assert test.p == pytest.approx(2 / 2**10)
    assert summary.power["10%"] == pytest.approx(4 * questions_needed(0.1), rel=0.05)


def test_single_questions_need_no_note() -> None:
    summary = summarize([*answers("Base", 80, per_chunk=1), *answers("v1", 40, per_chunk=1)], ["Base", "v1"])
    assert summary.notes == []
    assert summary.design_effect == 1.0
    assert summary.power["10%"] == questions_needed(0.1)


@pytest.mark.parametrize(("per_document", "clusters"), [(24, 10), (27, 60)])
def test_ten_documents_are_clusters_and_nine_are_not(per_document: int, clusters: int) -> None:
    rows = answers("Base", 80, per_document=per_document)
    assert len(set(question_clusters(rows).values())) == clusters
    no_gold = row("Base", 1000, wrong=False).model_copy(
        update={"gold_chunk_ids": [], "cluster": "q1000", "document": "q1000"}
    )
    assert len(set(question_clusters([*rows, no_gold]).values())) == clusters + 1
