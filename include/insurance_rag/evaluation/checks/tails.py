"""Checks for unrelated text after the actual answer."""

from __future__ import annotations

from collections.abc import Iterator

from insurance_rag import korean
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check


@check(
    "foreign_tail",
    title="Foreign tail",
    title_ko="외국어 꼬리",
    description="The answer ends in another language that neither the context nor the question uses.",
    order=10,
)
def find_foreign_tail(answer: CheckedAnswer) -> Iterator[str]:
    """Yield the end of the answer if it is in another language."""
    if span := korean.foreign_tail(answer.text, answer.context, answer.question):
        yield span.text


@check(
    "advertising",
    title="Advertising tail",
    title_ko="광고 꼬리",
    description="The answer advertises products, links or channels that the context does not mention.",
    order=20,
)
def find_advertising(answer: CheckedAnswer) -> Iterator[str]:
    """Yield the first advertising sentence."""
    if span := korean.advertising(answer.text, answer.context, answer.question):
        yield span.text
