"""Runs the judge, and measures how well the checks, the metric `correct` and the judge agree with human annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from insurance_rag.core.files import write_jsonl
from insurance_rag.core.metrics import question_clusters
from insurance_rag.core.records import JudgeSummary, RaterAgreement, ScoredAnswer
from insurance_rag.evaluation.agreement import Rating, agreement
from insurance_rag.evaluation.annotations import Annotations
from insurance_rag.evaluation.judge import Judgement, judge_answers, summarize_judgements


def run_judge(
    rows: Sequence[ScoredAnswer], judge: str, models: Sequence[str], out: Path, suffix: str, progress: Path | None
) -> tuple[JudgeSummary, list[Judgement]]:
    """Let the judge read all answers. Return its summary and its judgements, and write the latter into `out`.

    `suffix` is the suffix of the file name. See `judge_answers` for the errors.
    """
    judgements = judge_answers(rows, judge, out, progress)
    write_jsonl(out / f"judgements{suffix}.jsonl", (j.model_dump(mode="json") for j in judgements))
    return summarize_judgements(judge, judgements, models, question_clusters(rows)), judgements


def agreements(
    rows: Sequence[ScoredAnswer], models: Sequence[str], labels: Annotations, judgements: Sequence[Judgement]
) -> dict[str, RaterAgreement]:
    """Return how well each rater agrees with the human labels. Unusable judgements are left out.

    The checks and the judge are compared with the labels in the column `hallucinated`, and the metric `correct` with
    those in the column `correct`.
    """
    clusters = question_clusters(rows)
    found = dict[str, RaterAgreement]()
    if labels.hallucinated:
        checks = [Rating(row.key, row.model, clusters[row.question_id], row.hallucinated) for row in rows]
        found["checks"] = agreement(labels.hallucinated, checks, models)
    if labels.hallucinated and judgements:
        judged = [
            Rating(j.key, j.model, clusters[j.question_id], j.hallucinated)
            for j in judgements
            if j.hallucinated is not None
        ]
        found["judge"] = agreement(labels.hallucinated, judged, models)
    if labels.correct:
        wrong = {key: not correct for key, correct in labels.correct.items()}
        assessed = [
            Rating(row.key, row.model, clusters[row.question_id], not row.correctness.correct)
            for row in rows
            if row.correctness.correct is not None
        ]
        found["correct"] = agreement(wrong, assessed, models, fault="wrong")
    return found
