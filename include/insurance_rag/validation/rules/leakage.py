"""Rules that keep evaluation questions and their gold chunks out of the training data."""

from __future__ import annotations

from insurance_rag.korean import remove_whitespace
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RuleContext, rule


@rule("leak", title="Overlaps with the evaluation", title_ko="평가 문서와 중복", repairable=False)
def leak(row: Row, context: RuleContext) -> str | None:
    """The row asks an evaluation question, or its chunk is almost identical to a gold chunk of the evaluation."""
    if row.chunk_id in context.leaking:
        return f"{row.chunk_id} repeats a gold chunk of the evaluation"
    return row.instruction if context.questions and remove_whitespace(row.instruction) in context.questions else None
