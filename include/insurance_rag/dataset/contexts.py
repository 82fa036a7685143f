"""The clauses a RAG row shows: the right one among distractors, or, for a refusal, one that lacks the answer.

What stands beside a clause is drawn from training documents only, by hash, so that a row's context depends on nothing
but the row, the clauses and the seed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from random import Random
from typing import Any

from insurance_rag.config import DatasetConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk
from insurance_rag.korean import quantities, squeeze

_TITLE = re.compile(r"제\s?\d+\s?조(?:의\s?\d+)?\s?\(([^()\n]{1,60})\)")
GRAM = 3
TOO_ALIKE = 0.5
"""A clause that shares more of its words with the right one than this may answer the question as well."""
HALF_ANSWERED = 0.5
"""A clause that holds this share of an answer's 3-grams may be said to answer it."""


class Contexts:
    """Picks distractors and hard negatives among `chunks`, the clauses that may be trained on."""

    def __init__(self, chunks: Sequence[Chunk], config: DatasetConfig) -> None:
        self._config = config
        self._chunks = sorted(chunks, key=lambda chunk: chunk.chunk_id)
        self._at = {chunk.chunk_id: i for i, chunk in enumerate(self._chunks)}
        self._by_title: dict[str, list[int]] = defaultdict(list)
        self._by_source: dict[str, list[int]] = defaultdict(list)
        self._by_kind: dict[str, list[int]] = defaultdict(list)
        for i, chunk in enumerate(self._chunks):
            self._by_title[title(chunk)].append(i)
            self._by_source[chunk.metadata.source].append(i)
            self._by_kind[chunk.metadata.policy_type].append(i)
        self._pool = lru_cache(maxsize=5000)(self._find_pool)
        self._grams = lru_cache(maxsize=5000)(lambda i: _grams(self._chunks[i].text))
        self._numbers = lru_cache(maxsize=5000)(lambda i: {q.key for q in quantities(self._chunks[i].text)})

    def with_distractors(self, row: dict[str, Any]) -> list[Chunk]:
        """The right clause among 2-4 that lack the answer, in any order; alone where the row has no known clause."""
        if row["chunk_id"] not in self._at:
            return []
        chance = self._chance("distractors", row)
        own = self._chunks[self._at[row["chunk_id"]]]
        wanted = chance.randint(*self._config.distractors)
        shown = self._fill([own], row, wanted, chance)
        chance.shuffle(shown)
        return shown

    def without_answer(self, row: dict[str, Any]) -> list[Chunk]:
        """Clauses that lack the answer, a hard negative first among them; none where there is no such clause."""
        if row["chunk_id"] not in self._at:
            return []
        chance = self._chance("unanswerable", row)
        negative = next(self._lacking(row, self._negatives(row, chance)), None)
        if negative is None:
            return []
        crowded = chance.random() < self._config.distractor_share
        shown = (
            self._fill([negative], row, chance.randint(*self._config.distractors), chance) if crowded else [negative]
        )
        chance.shuffle(shown)
        return shown

    def _fill(self, shown: list[Chunk], row: dict[str, Any], wanted: int, chance: Random) -> list[Chunk]:
        size = sum(len(chunk.text) for chunk in shown)
        for chunk in self._lacking(row, self._beside(row, chance)):
            if wanted == 0:
                break
            if chunk in shown or size + len(chunk.text) > self._config.context_characters:
                continue
            shown = [*shown, chunk]
            size += len(chunk.text)
            wanted -= 1
        return shown

    def _negatives(self, row: dict[str, Any], chance: Random) -> Iterator[int]:
        """The same heading in other products, where the question names its own; then the neighbourhood."""
        own = self._chunks[self._at[row["chunk_id"]]]
        for i in _some(self._by_title[title(own)], chance, 16):  # a sample: a common heading has thousands
            if self._chunks[i].metadata.source == own.metadata.source:
                continue
            if names_product(row["instruction"], own, self._chunks[i]):
                yield i
        yield from self._beside(row, chance)

    def _beside(self, row: dict[str, Any], chance: Random) -> list[int]:
        """Clauses that may stand beside the right one, in any order."""
        pool = self._pool(self._at[row["chunk_id"]])
        return chance.sample(pool, len(pool))

    def _find_pool(self, own_at: int) -> list[int]:
        """Other headings of the same document, which share its words, and of other products of its kind."""
        own = self._chunks[own_at]
        chance = Random(sha256_text(str(self._config.seed), "pool", own.chunk_id))
        document, same_kind = self._by_source[own.metadata.source], self._by_kind[own.metadata.policy_type]
        place = bisect_left(document, own_at)
        near = document[max(0, place - 6) : place + 7]
        pool = dict.fromkeys([*near, *_some(document, chance, 8), *_some(same_kind, chance, 8)])
        mine = self._grams(own_at)
        return [i for i in pool if title(self._chunks[i]) != title(own) and _overlap(self._grams(i), mine) < TOO_ALIKE]

    def _lacking(self, row: dict[str, Any], candidates: Iterable[int]) -> Iterator[Chunk]:
        quote, answer = squeeze(row["evidence"]), _grams(row["output"])
        numbers = {q.key for q in quantities(row["output"])}
        for i in candidates:
            text = self._chunks[i].text
            if quote and quote in squeeze(text):
                continue
            other_numbers = bool(numbers) and not numbers <= self._numbers(i)
            if other_numbers or len(answer & self._grams(i)) < HALF_ANSWERED * len(answer):
                yield self._chunks[i]

    def _chance(self, purpose: str, row: dict[str, Any]) -> Random:
        return Random(sha256_text(str(self._config.seed), purpose, row["chunk_id"], row["instruction"], row["output"]))


def title(chunk: Chunk) -> str:
    """The heading of a clause without its number: 보험금의 지급사유."""
    match = _TITLE.search(chunk.text[:120]) or _TITLE.search(chunk.metadata.breadcrumbs)
    return squeeze(match[1]) if match else squeeze(chunk.text[:20])


def product(chunk: Chunk) -> str:
    """The product's name: the first of the breadcrumbs."""
    return chunk.metadata.breadcrumbs.split(">")[0].strip() or chunk.metadata.source


def names_product(question: str, own: Chunk, other: Chunk) -> bool:
    """Whether the question names the product of `own` so that it cannot be `other`'s."""
    words, whole = _telling(product(own), product(other))
    return any(word in question for word in words) or (whole != "" and whole in squeeze(question))


@lru_cache(maxsize=100_000)
def _telling(name: str, other: str) -> tuple[tuple[str, ...], str]:
    """What of a product's name tells it from another: single words, and the whole name; nothing where neither does.

    든든 is part of 여성든든 too: only a word that the other name does not contain counts.
    """
    words = set(re.findall(r"\w+", name)) - set(re.findall(r"\w+", other))
    whole = squeeze(name) if words and squeeze(name) not in squeeze(other) else ""
    return tuple(sorted(word for word in words if word not in other)), whole


def _grams(text: str) -> frozenset[str]:
    text = squeeze(text)
    return frozenset(text[i : i + GRAM] for i in range(len(text) - GRAM + 1))


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / max(1, min(len(a), len(b)))


def _some(positions: Sequence[int], chance: Random, most: int) -> list[int]:
    return chance.sample(positions, min(most, len(positions)))
