"""Rules about form: whether a row is readable, complete, long enough, not cut off and not repetitive."""

from __future__ import annotations

from insurance_rag.korean import ends_as_sentence, is_open_ended, prompt_echo, repetition
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RuleContext, rule

TAIL_CHARACTERS = 20
"""Number of characters at the end of an answer that are shown as the text at fault."""


@rule("malformed", title="Unreadable row", title_ko="읽을 수 없는 행", repairable=False)
def malformed(row: Row, context: RuleContext) -> str | None:
    """The row is not a JSON object, has a field that is too long or of the wrong type, or is not valid Unicode."""
    return row.problem


@rule("required_fields", title="Question or answer missing", title_ko="질문 또는 답변 누락", repairable=True)
def required_fields(row: Row, context: RuleContext) -> str | None:
    """The row has no question or no answer."""
    missing = [name for name in ("instruction", "output") if not getattr(row, name).strip()]
    return f"no {' and no '.join(missing)}" if missing else None


@rule("too_short", title="Answer too short", title_ko="너무 짧은 답변", repairable=True)
def too_short(row: Row, context: RuleContext) -> str | None:
    """The row has an answer with fewer than `min_output` characters."""
    return row.output if len(row.output) < context.config.min_output else None


@rule("cut_off", title="Answer cut off", title_ko="중간에 끊긴 답변", repairable=True)
def cut_off(row: Row, context: RuleContext) -> str | None:
    """The row has an answer that does not end with a complete sentence."""
    return None if ends_as_sentence(row.output) else row.output[-TAIL_CHARACTERS:]


@rule("open_ended", title="Answer with an incomplete sentence", title_ko="완결되지 않은 문장", repairable=True)
def open_ended(row: Row, context: RuleContext) -> str | None:
    """The answer's last words only resemble the end of a sentence: `서류가 필요`, `1년마다` or `지급하며...`."""
    return row.output[-TAIL_CHARACTERS:] if is_open_ended(row.output) else None


@rule("prompt_echo", title="Prompt repeated", title_ko="지시문 반복", repairable=True)
def echoes_prompt(row: Row, context: RuleContext) -> str | None:
    """The row repeats part of the prompt, or has an answer that begins by repeating the question."""
    span = prompt_echo(row.output, row.instruction) or prompt_echo(row.instruction)
    return span.text if span else None


@rule("repetition", title="Repetitive answer", title_ko="같은 말 반복", repairable=True)
def repeats_itself(row: Row, context: RuleContext) -> str | None:
    """The row has an answer that repeats a phrase or a sentence."""
    span = repetition(row.output)
    return span.text if span else None
