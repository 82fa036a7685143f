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
    description="The answer asserts something although the context does not answer the question.",
    order=90,
)
def find_missed_refusal(answer: CheckedAnswer) -> Iterator[str]:
    """If the answer should have been a full refusal but asserts something, yield the first sentence that asserts."""
    if answer.answerable is False and answer.refusal != "full":
        found = [sentence.text for sentence in korean.sentences(answer.text)]
        yield next((text for text in found if not korean.is_refusal_sentence(text)), found[0])


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
    """If the answer is a refusal although the context answers the question, yield the answer's beginning."""
    if answer.answerable is True and answer.refusal == "full":
        yield answer.text.strip()[:MAX_SPAN_CHARACTERS]
