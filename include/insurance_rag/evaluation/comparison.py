"""The comparison files: comparison_results.json (Base and v1) and comparison_results_v2.json (all models)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from insurance_rag.core.files import write_json
from insurance_rag.core.records import (
    ComparedAnswer,
    ComparedQuestion,
    Comparison,
    EvaluationSummary,
    ScoredAnswer,
)
from insurance_rag.evaluation.requests import BASE


def write_comparisons(out: Path, rows: Sequence[ScoredAnswer], summary: EvaluationSummary) -> None:
    """Write both comparison files. `rows` and `summary` must be for the same context source."""
    models = list(summary.models)
    first_models = [model for model in models if model in (BASE, "v1")]
    for name, compared in (("comparison_results_v2.json", models), ("comparison_results.json", first_models)):
        write_json(out / name, _comparison(rows, compared, summary).model_dump(mode="json"))


def _comparison(rows: Sequence[ScoredAnswer], models: Sequence[str], summary: EvaluationSummary) -> Comparison:
    by_question: dict[str, list[ScoredAnswer]] = {}
    for row in rows:
        if row.model in models:
            by_question.setdefault(row.question_id, []).append(row)
    rates = {model: summary.models[model].rates for model in models}
    return Comparison(
        context=summary.context,
        notes=summary.notes,
        correct={model: rates[model]["correct"] for model in models},
        raw_correct={model: rates[model]["raw_correct"] for model in models},
        hallucination={model: rates[model]["hallucination"] for model in models},
        raw_hallucination={model: rates[model]["raw_hallucination"] for model in models},
        tests=[test for test in summary.tests if {test.a, test.b} <= set(models)],
        questions=[_compared_question(own) for own in by_question.values()],
    )


def _compared_question(rows: Sequence[ScoredAnswer]) -> ComparedQuestion:
    first = rows[0]
    return ComparedQuestion(
        question_id=first.question_id,
        question=first.question,
        type=first.type,
        answerable=first.answerable,
        reference_answer=first.reference_answer,
        chunk_ids=first.chunk_ids,
        answers={
            row.model: ComparedAnswer(
                answer=row.answer,
                raw_answer=row.raw_answer,
                correct=row.correctness.correct,
                problems=row.correctness.problems,
                hallucinated=row.hallucinated,
                refusal=row.refusal,
                findings=row.findings,
            )
            for row in rows
        },
    )
