"""comparison_results.json (Base and v1) and comparison_results_v2.json (all models): the answers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insurance_rag.core.files import write_json
from insurance_rag.evaluation.requests import BASE
from insurance_rag.evaluation.scoring import ScoredAnswer


def write_comparisons(out: Path, rows: Sequence[ScoredAnswer], summary: dict[str, Any]) -> None:
    """Both files from the answers of one context source and their summary."""
    models = list(summary["models"])
    write_json(out / "comparison_results_v2.json", _comparison(rows, models, summary))
    write_json(out / "comparison_results.json", _comparison(rows, [m for m in models if m in (BASE, "v1")], summary))


def _comparison(rows: Sequence[ScoredAnswer], models: Sequence[str], summary: dict[str, Any]) -> dict[str, Any]:
    questions: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.model not in models:
            continue
        entry = questions.setdefault(
            row.question_id,
            {
                "question_id": row.question_id,
                "question": row.question,
                "type": row.type,
                "answerable": row.answerable,
                "reference_answer": row.reference_answer,
                "chunk_ids": row.chunk_ids,
                "answers": {},
            },
        )
        entry["answers"][row.model] = {
            "answer": row.answer,
            "raw_answer": row.raw_answer,
            "hallucinated": row.hallucinated,
            "refusal": row.refusal,
            "findings": [finding.model_dump() for finding in row.findings],
        }
    rates = {model: summary["models"][model]["rates"] for model in models}
    return {
        "context": summary["context"],
        "notes": summary["notes"],
        "hallucination": {model: rates[model]["hallucination"] for model in models},
        "raw_hallucination": {model: rates[model]["raw_hallucination"] for model in models},
        "tests": [test for test in summary["tests"] if {test["a"], test["b"]} <= set(models)],
        "questions": list(questions.values()),
    }
