"""Run every check on an answer."""

from __future__ import annotations

from collections.abc import Sequence

from insurance_rag.core.records import Finding, Verdict
from insurance_rag.evaluation.checks.registry import CHECKS, CheckedAnswer, ShownChunk, ordered_checks
from insurance_rag.korean import refusal

MAX_CHECKED_CHARACTERS = 20_000
"""Only the beginning and the end of a longer answer are checked. An answer this long is a loop or an echo anyway."""

MIN_SUPPORT = 0.4


def check_answer(
    answer: str,
    context: str,
    question: str = "",
    answerable: bool | None = None,
    min_support: float = MIN_SUPPORT,
    chunks: Sequence[ShownChunk] = (),
    unsupported: Sequence[str] = (),
) -> Verdict:
    """Run all checks on one answer and return their verdict.

    `answerable` is whether the context answers the question; None means unknown. Amounts and articles that the question
    itself states are not faults, because an answer may repeat them. `chunks` are the chunks of the context with their
    products; without them, the context is split at empty lines. See `CheckedAnswer` for `min_support` and
    `unsupported`.
    """
    text = _shortened(answer)
    is_empty = not text.strip()
    checked = CheckedAnswer(
        text=text,
        context=context,
        question=question,
        answerable=answerable,
        refusal="none" if is_empty else refusal(text),
        min_support=min_support,
        unsupported=tuple(unsupported),
        shown=tuple(chunks),
    )
    findings = [
        Finding(check=check.name, span=span)
        for check in ordered_checks()
        if check.on_empty or not is_empty
        for span in check.find(checked)
    ]
    hallucinated = any(CHECKS[finding.check].hallucination for finding in findings)
    return Verdict(hallucinated=hallucinated, findings=findings, refusal=checked.refusal)


def _shortened(answer: str) -> str:
    if len(answer) <= MAX_CHECKED_CHARACTERS:
        return answer
    half = MAX_CHECKED_CHARACTERS // 2
    return answer[:half] + "\n" + answer[-half:]
