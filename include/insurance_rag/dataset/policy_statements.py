"""Phrases a sentence of a chunk as an answer, as a model does that answers although it should refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from insurance_rag.core.records import Chunk
from insurance_rag.korean import articles, sentences
from insurance_rag.korean.overlap import covered_share, subject_bigrams
from insurance_rag.korean.particles import with_particle

_MARK = re.compile(r"^\s*(?:[①-⑳]|\(?\d{1,2}[.)]|[가-하][.)])\s*")
_DEPENDENT = re.compile(r"^(?:다만|이 경우|그러나|또한|그 밖|이때|단,)|다음과 같|다음 각|각 호|아래")
"""Sentences that say nothing without the sentence before or the list after them."""
_DEFINITION = re.compile(r"^([^:.]{2,20}):\s+")
MIN_CHARACTERS, MAX_CHARACTERS = 15, 120
HEADING_CHARACTERS = 40
"""A chunk's own article is named at its beginning."""


def policy_statement(question: str, chunks: Sequence[Chunk]) -> str | None:
    """Return the sentence that shares the most words with the question, after a citation; None without a sentence.

    The citation names the sentence's own article: `제7조에 따르면 90일이 지난 날부터 보장합니다.`
    """
    asked = subject_bigrams(question)
    found = [(covered_share(asked, subject_bigrams(text)), chunk, text) for chunk in chunks for text in _whole(chunk)]
    if not found:
        return None
    _, chunk, text = max(found, key=lambda each: each[0])
    own = [article for article in articles(chunk.text[:HEADING_CHARACTERS])[:1] if article.article]
    return f"{own[0].text if own else '약관'}에 따르면 {text}"


def _whole(chunk: Chunk) -> Iterator[str]:
    """Yield the sentences of a chunk that can stand alone. A definition of the form `term: text` becomes a sentence."""
    for sentence in sentences(chunk.text):
        text = _MARK.sub("", sentence.text)
        text = _DEFINITION.sub(lambda term: with_particle(term[1], "은") + " ", text)
        if text.endswith("다.") and MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS and not _DEPENDENT.search(text):
            yield text
