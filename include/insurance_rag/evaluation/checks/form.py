"""Checks for faults in the form of an answer, independent of what the answer says."""

from __future__ import annotations

import re
from collections.abc import Iterator

from insurance_rag import korean
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check

_GARBLED = re.compile("[\ufffd\x00-\x08\x0b-\x1f\x7f]+")


@check(
    "loop",
    title="Loop",
    title_ko="반복",
    description="The answer repeats the same words over and over.",
    order=30,
)
def find_loop(answer: CheckedAnswer) -> Iterator[str]:
    """Yield the repeated words if the answer contains a loop."""
    if span := korean.repetition(answer.text):
        yield span.text


@check(
    "prompt_echo",
    title="Echo of the prompt",
    title_ko="지시문 되풀이",
    description="The answer repeats headings or instructions from the prompt.",
    order=40,
)
def find_prompt_echo(answer: CheckedAnswer) -> Iterator[str]:
    """Yield the part of the answer that is copied from the prompt."""
    if span := korean.prompt_echo(answer.text, answer.question):
        yield span.text


@check(
    "garbled",
    title="Garbled characters",
    title_ko="깨진 글자",
    description="The answer contains control characters or bytes that are not valid text.",
    order=50,
)
def find_garbled(answer: CheckedAnswer) -> Iterator[str]:
    """Yield the first run of garbled characters."""
    if match := _GARBLED.search(answer.text):
        yield match.group()


@check(
    "empty",
    title="Empty answer",
    title_ko="빈 답",
    description="The answer has no text. Nothing is invented, so this is not a hallucination.",
    hallucination=False,
    on_empty=True,
    order=110,
)
def find_empty(answer: CheckedAnswer) -> Iterator[str]:
    """Yield an empty span if the answer is blank."""
    if not answer.text.strip():
        yield ""
