"""Checks for missing refusals and for refusals of questions that the context answers."""

from __future__ import annotations

from collections.abc import Iterator

from insurance_rag import korean
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check

MAX_SPAN_CHARACTERS = 200


@check(
    "missed_refusal",
    title="Missed refusal",
    title_ko="놓친 거절",
    description="The answer does not refuse although the context does not answer the question.",
    order=90,
)
def find_missed_refusal(answer: CheckedAnswer) -> Iterator[str]:
    """Yield the first sentence of an answer that should have been a refusal."""
    if answer.answerable is False and answer.refusal == "none":
        yield korean.sentences(answer.text)[0].text


@check(
    "false_refusal",
    title="False refusal",
    title_ko="잘못된 거절",
    description="The answer refuses although the context answers the question. Nothing is invented, so this is not "
    "a hallucination.",
    hallucination=False,
    order=100,
)
def find_false_refusal(answer: CheckedAnswer) -> Iterator[str]:
    """Yield the beginning of a refusal if the context answers the question."""
    if answer.answerable is True and answer.refusal == "full":
        yield answer.text.strip()[:MAX_SPAN_CHARACTERS]
