"""Rules about evasive answers and refusals."""

from __future__ import annotations

from insurance_rag.korean import evasion, refusal
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RuleContext, rule


@rule("evasive", title="Evasive answer", title_ko="회피성 답변", repairable=True)
def evasive(row: Row, context: RuleContext) -> str | None:
    """The row evades a question that is labeled answerable, for example with "명시되어 있지 않습니다"."""
    if not row.answerable:
        return None
    span = evasion(row.output)
    if span is None or (context.config.keep_partial_evasions and refusal(row.output) == "partial"):
        return None
    return span.text


@rule("missed_refusal", title="Refusal missing", title_ko="거절 누락", repairable=True)
def missed_refusal(row: Row, context: RuleContext) -> str | None:
    """The row answers a question that is labeled unanswerable."""
    return row.output if not row.answerable and refusal(row.output) != "full" else None
