"""Compares texts by their character bigrams, without those of particles, endings and words of every policy.

This needs no morphological analysis, so that it is fast enough for millions of rows. Synonyms share no bigrams, so a
small overlap is no evidence that two texts differ in subject.
"""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache

_BIGRAM = re.compile(r"(?=([가-힣A-Za-z]{2}))")
_CITATION = re.compile(r"제\s?\d+\s?[조항호](?:의\s?\d+)?(?:에\s?(?:따르면|따라|의하면|의해))?")


def _bigrams_of(words: str) -> frozenset[str]:
    return frozenset(word[i : i + 2] for word in words.split() for i in range(len(word) - 1))


# Endings of verbs, particles, and words that occur in questions and answers about any subject.
_GRAMMAR = _bigrams_of("""
    습니다 합니다 됩니다 입니다 십니다 하는 되는 있는 없는 나요 가요 세요 어요 아요 에요 예요 이에요
    네요 는데 은데 인데 한데 으로 에서 에게 까지 부터 라도 이나 경우 따르면 따라 하면 되면 이면
    으면 받을 있나 있습 없습 하나 되나 어떻 어떤 무엇 얼마 언제 보험 그럼 그러면 때문 해야 하지
    되지 않습 않는 않은 아니 아니요 그리고 그런 이런 저는 제가 우리 것을 것은 것이 하고 되고 에는
    에도 해서 했는 하여 되어 한다 된다 이라 라고 라는 다고 한다면 인가 인지 는지 은지 을까 주나
    주는 줘요 해요 돼요 봐요 거죠 지요 나는 저희 에서는 험에 험은 험의 험이
""")
_GENERIC = _bigrams_of("보험금 지급 회사 피보험자 보험계약 계약자 보상 보장 보험료 받은 금액 가입")
"""Bigrams of words that occur in most chunks of a policy."""


@lru_cache(maxsize=4_096)
def content_bigrams(text: str) -> frozenset[str]:
    """Return the distinct bigrams of the text's words, without citations, endings and particles.

    >>> sorted(content_bigrams("제7조에 따르면 진단비를 지급합니다."))
    ['급합', '단비', '비를', '지급', '진단']
    """
    return frozenset(_BIGRAM.findall(_CITATION.sub(" ", text))) - _GRAMMAR


def subject_bigrams(text: str) -> frozenset[str]:
    """Return the bigrams of `content_bigrams` without those of words such as 보험금, which most chunks contain."""
    return content_bigrams(text) - _GENERIC


def covered_share(part: Set[str], whole: Set[str]) -> float:
    """Return the fraction of the bigrams in `part` that `whole` contains; 1 if `part` is empty."""
    return len(part & whole) / len(part) if part else 1.0
