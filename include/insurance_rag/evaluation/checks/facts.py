"""Checks for facts in an answer that neither the context nor the question states."""

from __future__ import annotations

from collections.abc import Iterator

from insurance_rag import korean
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check


@check(
    "article",
    title="Article not in the context",
    title_ko="없는 조항",
    description="The answer cites an article, paragraph or item (제N조, 제N항) that is not in the context or question.",
    order=60,
)
def find_unknown_articles(answer: CheckedAnswer) -> Iterator[str]:
    """Yield every reference to an article that neither the context nor the question mentions."""
    known = korean.named_levels(answer.context) | korean.named_levels(answer.question)
    for reference in korean.articles(answer.text):
        if not known.issuperset(reference.levels):
            yield reference.text


@check(
    "quantity",
    title="Number not in the context",
    title_ko="없는 숫자",
    description="The answer states an amount, a period or a percentage that is not in the context or question.",
    order=70,
)
def find_unsupported_quantities(answer: CheckedAnswer) -> Iterator[str]:
    """Yield every quantity that neither the context nor the question states."""
    for quantity in korean.unsupported_quantities(answer.text, *answer.chunk_texts, question=answer.question):
        yield quantity.text
