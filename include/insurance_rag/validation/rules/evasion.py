"""Rules about answers that say nothing: evasive answers, refusals, preambles and mere confirmations."""

from __future__ import annotations

from insurance_rag.korean import evasion, refusal
from insurance_rag.korean.preambles import says_only_yes_or_no, starts_with_preamble
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RuleContext, rule

HEAD_CHARACTERS = 30
"""Number of characters at the start of an answer that are shown as the text at fault."""


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


@rule("no_content", title="Answer says only yes or no", title_ko="예/아니요뿐인 답변", repairable=True)
def no_content(row: Row, context: RuleContext) -> str | None:
    """The row has an answer that only confirms or denies, such as "네, 그렇습니다. 맞습니다."."""
    return row.output if row.answerable and says_only_yes_or_no(row.output) else None


@rule("preamble", title="Answer with a preamble", title_ko="머리말이 있는 답변", repairable=True)
def preamble(row: Row, context: RuleContext) -> str | None:
    """The row has an answer that begins with a preamble or a label, such as "네, 답변드리겠습니다!" or "**답변:**"."""
    return row.output[:HEAD_CHARACTERS] if row.answerable and starts_with_preamble(row.output) else None
