"""Checks for sentences that share too few words with the context."""

from __future__ import annotations

import re
from collections.abc import Iterator

from insurance_rag import korean
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check

_WORD = re.compile(r"[가-힣A-Za-z]{2,}")

MIN_BIGRAMS = 6
"""Sentences with fewer distinct bigrams are not checked, because a few bigrams are not conclusive."""


@check(
    "unsupported",
    title="Unsupported sentence",
    title_ko="근거 없는 문장",
    description="A sentence shares too few character bigrams with the context and question. Refusals are not checked.",
    order=80,
)
def find_unsupported_sentences(answer: CheckedAnswer) -> Iterator[str]:
    """Yield every sentence that shares too few of its character bigrams with the context and the question.

    The minimum fraction is `answer.min_support`.
    """
    if answer.refusal == "full":
        return
    known = _bigrams(f"{answer.context}\n{answer.question}")
    for sentence in korean.sentences(answer.text):
        bigrams = _bigrams(sentence.text)
        if len(bigrams) < MIN_BIGRAMS or korean.is_refusal_sentence(sentence.text):
            continue
        if len(bigrams & known) < answer.min_support * len(bigrams):
            yield sentence.text


def _bigrams(text: str) -> set[str]:
    return {word[i : i + 2] for word in _WORD.findall(text) for i in range(len(word) - 1)}
