"""The chunks that a question set is about, prepared for the checks: search, products, and chunks with the same text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from insurance_rag.chunks.headings import product_name
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, Question
from insurance_rag.evaluation.correctness.content import lemmas
from insurance_rag.korean import Span, clean, known_quantities, remove_whitespace, sentences
from insurance_rag.korean.overlap import content_bigrams
from insurance_rag.retrieval import Retriever, build_retriever
from insurance_rag.validation.rules.question import name_words
from insurance_rag.validation.rules.registry import ChunkText, chunk_labels

FilterField = Literal["company", "policy_type"]

MAX_RANK = 50
"""Ranks below this one are not looked up. Such a chunk counts as not found."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """All chunks of the documents. Build it with `make_corpus`."""

    chunks: tuple[Chunk, ...]

    @cached_property
    def by_id(self) -> Mapping[str, Chunk]:
        return {chunk.chunk_id: chunk for chunk in self.chunks}

    @cached_property
    def texts(self) -> Mapping[str, ChunkText]:
        """Chunk id -> the chunk's text with its analyses."""
        return {chunk.chunk_id: ChunkText(chunk.text, "", *chunk_labels(chunk)) for chunk in self.chunks}

    @cached_property
    def sha256(self) -> str:
        """Hash of all chunks. It does not depend on their order."""
        return sha256_text(*sorted(chunk.model_dump_json() for chunk in self.chunks))

    @cached_property
    def retriever(self) -> Retriever:
        return build_retriever("bm25", self.chunks)

    @cached_property
    def several_products(self) -> bool:
        return len(self._words_of_products) > 1

    @cached_property
    def _same_text(self) -> Mapping[str, list[Chunk]]:
        found: dict[str, list[Chunk]] = {}
        for chunk in self.chunks:
            found.setdefault(remove_whitespace(chunk.text), []).append(chunk)
        return found

    @cached_property
    def _words_of_products(self) -> Mapping[str, frozenset[str]]:
        return {product_name(chunk): name_words(chunk_labels(chunk)[0]) for chunk in self.chunks}

    def with_same_text(self, text: str) -> Sequence[Chunk]:
        """Return all chunks with this text, apart from whitespace."""
        return self._same_text.get(remove_whitespace(text), [])

    def repeats(self, chunk_id: str) -> list[str]:
        """Return the ids of the other chunks of the same document with the same text."""
        chunk = self.by_id[chunk_id]
        same = (c for c in self.with_same_text(chunk.text) if c.metadata.source == chunk.metadata.source)
        return [c.chunk_id for c in same if c.chunk_id != chunk_id]

    def filters(self, chunk: Chunk) -> dict[FilterField, str]:
        """Return the filters of a question about the chunk: the fields in which the documents differ."""
        return {field: value for field in self._filter_fields if (value := str(getattr(chunk.metadata, field)))}

    @cached_property
    def _filter_fields(self) -> tuple[FilterField, ...]:
        values = {field: {getattr(chunk.metadata, field) for chunk in self.chunks} for field in _FILTERS}
        return tuple(field for field, found in values.items() if len(found) > 1)

    def named_words(self, question: str) -> frozenset[str]:
        """Return the words of product names in the question. A word inside a longer one does not count."""
        left, found = remove_whitespace(question), set()
        for word in self._longest_words:
            if word in left:
                found.add(word)
                left = left.replace(word, "\0" * len(word))
        return frozenset(found) | {word for word, start in self._distinctive_starts.items() if start in left}

    @cached_property
    def _longest_words(self) -> Sequence[str]:
        words = {word for words in self._words_of_products.values() for word in words}
        return sorted(words, key=lambda word: (-len(word), word))

    @cached_property
    def _distinctive_starts(self) -> Mapping[str, str]:
        """Words that only one product has -> the first two syllables, by which a question may abbreviate them."""
        products = self._words_of_products.values()
        of_one = [word for word in self._longest_words if sum(word in words for words in products) == 1]
        starts = {word: word[:2] for word in of_one if len(word) > 2}
        return {
            word: start
            for word, start in starts.items()
            if sum(any(start in other for other in words) for words in products) == 1
        }

    def products_named(self, question: str) -> frozenset[str]:
        """Return the products that the question can be about: those of which it names the most words.

        A product is left out if the question names all of its words for another product as well, and more.
        """
        named = self.named_words(question)
        words = {product: own & named for product, own in self._words_of_products.items()}
        return frozenset(product for product, own in words.items() if not any(own < other for other in words.values()))

    def scope(self, question: Question) -> frozenset[str]:
        """Return the ids of the chunks that may answer the question: by its filters and by the product that it names.

        The products of its gold chunks are always included.
        """
        gold = {self._product_of[i] for i in question.gold_chunk_ids if i in self.by_id}
        key = (self.products_named(question.question) | gold, frozenset(question.filters.items()))
        if key not in self._scopes:
            self._scopes[key] = frozenset(
                chunk.chunk_id
                for chunk in self.chunks
                if self._product_of[chunk.chunk_id] in key[0]
                and all(getattr(chunk.metadata, field) == value for field, value in key[1])
            )
        return self._scopes[key]

    @cached_property
    def _product_of(self) -> Mapping[str, str]:
        return {chunk.chunk_id: product_name(chunk) for chunk in self.chunks}

    @cached_property
    def _scopes(self) -> dict[tuple[frozenset[str], frozenset[tuple[FilterField, str]]], frozenset[str]]:
        """Scopes that were computed before, by products and filters."""
        return {}

    def nearest(self, query: str, within: Collection[str], k: int) -> list[Chunk]:
        """Return up to `k` chunks among `within` that a search for the query finds, best first."""
        scores = self.retriever.scores(query)
        order = np.argsort(-scores, kind="stable").tolist()
        found = (self.chunks[i] for i in order if scores[i] > -np.inf and self.chunks[i].chunk_id in within)
        return [chunk for chunk, _ in zip(found, range(k), strict=False)]

    def rank(self, question: Question) -> int | None:
        """Return the rank of the first gold chunk in a search for the question; None if it is not found."""
        hits = self.retriever.search(question.question, MAX_RANK, question.filters)
        return next((n for n, hit in enumerate(hits, 1) if hit.is_any_of(question.gold_chunk_ids)), None)

    def weight(self, words: Collection[str]) -> float:
        """Return the sum of the words' weights. The rarer a word is among the chunks, the larger is its weight."""
        return sum(math.log(1 + len(self.chunks) / max(1, self._word_counts[word])) for word in words)

    @cached_property
    def _word_counts(self) -> Counter[str]:
        return Counter(word for chunk in self.chunks for word in lemmas(chunk.text))

    def gold_text(self, question: Question) -> str:
        """Return the texts of the gold chunks, without those that the corpus lacks."""
        texts = dict.fromkeys(self.by_id[i].text for i in question.gold_chunk_ids if i in self.by_id)
        return "\n\n".join(texts)

    def without_names(self, question: str) -> str:
        """Return the question without the words of product names, which say nothing about its subject."""
        for word in sorted(self.named_words(question), key=len, reverse=True):
            question = question.replace(word, " ")
        return question


_FILTERS: tuple[FilterField, ...] = ("company", "policy_type")


def make_corpus(chunks: Iterable[Chunk]) -> Corpus:
    """Return the corpus with cleaned texts, so that a quote in an answer matches its chunk."""
    return Corpus(tuple(chunk.model_copy(update={"text": clean(chunk.text)}) for chunk in chunks))


@lru_cache(maxsize=20_000)
def analyzed_sentences(text: str) -> tuple[tuple[Span, frozenset[str], frozenset[tuple[float, str]]], ...]:
    """Return the sentences of a text, each with its content bigrams and its quantities."""
    return tuple((s, content_bigrams(s.text), frozenset(known_quantities(s.text))) for s in sentences(text))
