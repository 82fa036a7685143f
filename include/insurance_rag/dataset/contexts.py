"""Chooses the contexts of retrieval-style rows: the right chunk among distractors, or only chunks without the answer.

All chunks come from training documents. Every random choice is seeded with the row and the configured seed, so that a
context depends only on the row, the chunks and the configuration.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from random import Random

from insurance_rag.config import DatasetConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, QARow
from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.korean import quantities, remove_whitespace

_TITLE = re.compile(r"제\s?\d+\s?조(?:의\s?\d+)?\s?\(([^()\n]{1,60})\)")
NGRAM = 3
MAX_OVERLAP = 0.5
"""Limit for the 3-gram overlap of a distractor with the right chunk. A more similar chunk might contain the answer."""
MAX_ANSWER_SHARE = 0.5
"""Limit for the fraction of an answer's 3-grams that occur in a chunk. Above this limit, the chunk may contain the
answer."""
NEIGHBOURS = 6
"""Number of chunks on each side of the right chunk that are candidates for distractors."""
SAMPLED = 8
"""Number of candidates sampled from each of two sources: the same document, and all chunks of the same policy type."""
HARD_NEGATIVES = 16
"""Maximum number of chunks with the right chunk's title that are tried. Thousands of chunks can share a title."""


class Contexts:
    """Chooses distractors and hard negatives from `chunks`, all of which may be used for training."""

    def __init__(self, chunks: Sequence[Chunk], config: DatasetConfig) -> None:
        self._config = config
        self._chunks = sorted(chunks, key=lambda chunk: chunk.chunk_id)
        self._position = {chunk.chunk_id: i for i, chunk in enumerate(self._chunks)}
        self._by_title: dict[str, list[int]] = defaultdict(list)
        self._by_source: dict[str, list[int]] = defaultdict(list)
        self._by_policy_type: dict[str, list[int]] = defaultdict(list)
        for i, chunk in enumerate(self._chunks):
            self._by_title[title(chunk)].append(i)
            self._by_source[chunk.metadata.source].append(i)
            self._by_policy_type[chunk.metadata.policy_type].append(i)
        self._pool = lru_cache(maxsize=5000)(self._find_pool)
        self._ngrams = lru_cache(maxsize=5000)(lambda i: _ngrams(self._chunks[i].text))
        self._numbers = lru_cache(maxsize=5000)(lambda i: {q.key for q in quantities(self._chunks[i].text)})

    def with_distractors(self, row: QARow) -> list[Chunk]:
        """Return the row's chunk and distractors in random order, or an empty list if the row's chunk is unknown.

        If the question needs a second chunk, it is included.
        """
        if row["chunk_id"] not in self._position:
            return []
        rng = self._rng("distractors", row)
        own = self._chunks[self._position[row["chunk_id"]]]
        wanted = rng.randint(*self._config.distractors)
        other = self._position.get(str(row["meta"].get(OTHER_CHUNK_ID, "")))
        right = [own] if other is None else [own, self._chunks[other]]
        shown = self._add_distractors(right, row, wanted, rng)
        rng.shuffle(shown)
        return shown

    def refusal_context(self, row: QARow) -> list[Chunk]:
        """Return chunks that do not contain the answer, in random order.

        One of them is a hard negative if possible. For some rows, distractors are added. The list is empty if the row's
        chunk is unknown or if every candidate may contain the answer.
        """
        if row["chunk_id"] not in self._position:
            return []
        rng = self._rng("unanswerable", row)
        negative = next(self._lacking_answer(row, self._negatives(row, rng)), None)
        if negative is None:
            return []
        shown = [negative]
        if rng.random() < self._config.distractor_share:
            shown = self._add_distractors(shown, row, rng.randint(*self._config.distractors), rng)
        rng.shuffle(shown)
        return shown

    def _add_distractors(self, shown: list[Chunk], row: QARow, wanted: int, rng: Random) -> list[Chunk]:
        size = sum(len(chunk.text) for chunk in shown)
        for chunk in self._lacking_answer(row, self._shuffled_pool(row, rng)):
            if wanted == 0:
                break
            if chunk in shown or size + len(chunk.text) > self._config.context_characters:
                continue
            shown = [*shown, chunk]
            size += len(chunk.text)
            wanted -= 1
        return shown

    def _negatives(self, row: QARow, rng: Random) -> Iterator[int]:
        """Yield hard negatives and then the pool of distractors.

        A hard negative has the same title as the row's chunk but comes from another document. It is yielded only if the
        question names the product of the row's chunk. Otherwise, the hard negative might contain the answer.
        """
        own = self._chunks[self._position[row["chunk_id"]]]
        for i in _sample(self._by_title[title(own)], rng, HARD_NEGATIVES):
            if self._chunks[i].metadata.source == own.metadata.source:
                continue
            if names_product(row["instruction"], own, self._chunks[i]):
                yield i
        yield from self._shuffled_pool(row, rng)

    def _shuffled_pool(self, row: QARow, rng: Random) -> list[int]:
        pool = self._pool(self._position[row["chunk_id"]])
        return rng.sample(pool, len(pool))

    def _find_pool(self, own_position: int) -> list[int]:
        """Return the positions of candidate distractors for the chunk at `own_position`.

        The candidates come from the same document or policy type. Chunks with the same title or a similar text
        are excluded.
        """
        own = self._chunks[own_position]
        rng = Random(sha256_text(str(self._config.seed), "pool", own.chunk_id))
        document, same_type = self._by_source[own.metadata.source], self._by_policy_type[own.metadata.policy_type]
        place = bisect_left(document, own_position)
        near = document[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]
        pool = dict.fromkeys([*near, *_sample(document, rng, SAMPLED), *_sample(same_type, rng, SAMPLED)])
        ngrams = self._ngrams(own_position)
        return [
            i for i in pool if title(self._chunks[i]) != title(own) and _overlap(self._ngrams(i), ngrams) < MAX_OVERLAP
        ]

    def _lacking_answer(self, row: QARow, candidates: Iterable[int]) -> Iterator[Chunk]:
        quote, answer = remove_whitespace(row["evidence"]), _ngrams(row["output"])
        numbers = {q.key for q in quantities(row["output"])}
        for i in candidates:
            if quote and quote in remove_whitespace(self._chunks[i].text):
                continue
            other_numbers = bool(numbers) and not numbers <= self._numbers(i)
            if other_numbers or len(answer & self._ngrams(i)) < MAX_ANSWER_SHARE * len(answer):
                yield self._chunks[i]

    def _rng(self, purpose: str, row: QARow) -> Random:
        return Random(sha256_text(str(self._config.seed), purpose, row["chunk_id"], row["instruction"], row["output"]))


def title(chunk: Chunk) -> str:
    """Return the title of the chunk's article, or the start of the text if it has no title. Whitespace is removed."""
    match = _TITLE.search(chunk.text[:120]) or _TITLE.search(chunk.metadata.breadcrumbs)
    return remove_whitespace(match[1]) if match else remove_whitespace(chunk.text[:20])


def product(chunk: Chunk) -> str:
    """Return the name of the chunk's product: the first breadcrumb, or the document if there are no breadcrumbs."""
    return chunk.metadata.breadcrumbs.split(">")[0].strip() or chunk.metadata.source


def names_product(question: str, own: Chunk, other: Chunk) -> bool:
    """Return whether the question names the product of `own` in a way that rules out the product of `other`."""
    words, whole = _distinctive_parts(product(own), product(other))
    return any(word in question for word in words) or (whole != "" and whole in remove_whitespace(question))


@lru_cache(maxsize=100_000)
def _distinctive_parts(name: str, other: str) -> tuple[tuple[str, ...], str]:
    """Return the words in `name` that do not occur in `other`, and the whole name without whitespace.

    A word that is part of a longer word in `other` (든든 in 여성든든) is left out. If the whole name does not
    distinguish the two products, an empty string is returned in its place.
    """
    words = set(re.findall(r"\w+", name)) - set(re.findall(r"\w+", other))
    whole = remove_whitespace(name) if words and remove_whitespace(name) not in remove_whitespace(other) else ""
    return tuple(sorted(word for word in words if word not in other)), whole


def _ngrams(text: str) -> frozenset[str]:
    text = remove_whitespace(text)
    return frozenset(text[i : i + NGRAM] for i in range(len(text) - NGRAM + 1))


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / max(1, min(len(a), len(b)))


def _sample(positions: Sequence[int], rng: Random, n: int) -> list[int]:
    return rng.sample(positions, min(n, len(positions)))
