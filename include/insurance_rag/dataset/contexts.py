"""Chooses the contexts of retrieval-style rows: the right chunk among distractors, or only chunks without the answer.

Distractors are the chunks that a search for the row's question finds, in the order of the search, because the model
will see such contexts later. If there was no search, they are chunks near the right chunk, in random order. Every
random choice is seeded with the row and the configured seed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from insurance_rag.config import DatasetConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, QARow
from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.dataset.overlap import question_overlap
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


@dataclass(frozen=True)
class RowContext:
    """The context of one training row."""

    chunks: tuple[Chunk, ...]
    needs_headers: bool = False
    """Whether only the product above a chunk shows which chunk answers the question. Formats without chunk headers
    leave such refusal rows out."""


class Contexts:
    """Chooses distractors and hard negatives from `chunks`."""

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

    def alone(self, row: QARow) -> RowContext | None:
        """Return only the chunks that the question needs, or None if the row's chunk is unknown."""
        return RowContext(tuple(self._right_chunks(row))) if row["chunk_id"] in self._position else None

    def overlap(self, row: QARow, context: RowContext) -> float:
        """Return the `question_overlap` of a row whose chunk is known."""
        return question_overlap(row["instruction"], self._own(row), context.chunks)

    def with_distractors(self, row: QARow, hits: Sequence[str] = (), repetition: int = 0) -> RowContext | None:
        """Return the row's chunk and distractors, or None if the row's chunk is unknown.

        `hits` are the ids of the chunks that a search for the question finds, best first. The result has their order;
        right chunks that the search did not find come last. Without hits, the order is random. If the question needs a
        second chunk, it is included. Every `repetition` has other distractors.
        """
        if row["chunk_id"] not in self._position:
            return None
        rng = self._rng("distractors", row, repetition)
        right = self._right_chunks(row)
        candidates = self._found(hits, row) or self._shuffled_pool(row, rng)
        if repetition:
            rng.shuffle(candidates)
        shown = self._add(right, self._lacking_answer(row, candidates), rng.randint(*self._config.distractors))
        return RowContext(self._ordered(shown, hits, rng))

    def refusal_context(self, row: QARow, hits: Sequence[str] = (), repetition: int = 0) -> RowContext | None:
        """Return chunks that do not contain the answer, or None if the row's chunk is unknown or there are none.

        The chunks are those that a search for the question finds after the right chunk (`hits`, best first). Without
        hits, one of them has the title of the right chunk, if possible. Every `repetition` has other chunks.
        """
        if row["chunk_id"] not in self._position:
            return None
        rng = self._rng("unanswerable", row, repetition)
        candidates = self._found(hits, row) or [*self._same_title(row, rng), *self._shuffled_pool(row, rng)]
        if repetition:
            rng.shuffle(candidates)
        several = rng.random() < self._config.distractor_share
        wanted = 1 + (rng.randint(*self._config.distractors) if several else 0)
        shown = self._add([], self._lacking_answer(row, candidates), wanted)
        if not shown:
            return None
        own = self._own(row)
        return RowContext(self._ordered(shown, hits, rng), any(_answers_for_sibling(chunk, own) for chunk in shown))

    def _own(self, row: QARow) -> Chunk:
        return self._chunks[self._position[row["chunk_id"]]]

    def _right_chunks(self, row: QARow) -> list[Chunk]:
        other = self._position.get(str(row["meta"].get(OTHER_CHUNK_ID, "")))
        return [self._own(row)] if other is None else [self._own(row), self._chunks[other]]

    def _ordered(self, shown: list[Chunk], hits: Sequence[str], rng: Random) -> tuple[Chunk, ...]:
        if hits:
            rank = {chunk_id: n for n, chunk_id in enumerate(hits)}
            return tuple(sorted(shown, key=lambda chunk: rank.get(chunk.chunk_id, len(rank))))
        rng.shuffle(shown)
        return tuple(shown)

    def _add(self, shown: Sequence[Chunk], candidates: Iterable[Chunk], wanted: int) -> list[Chunk]:
        """Return `shown` and up to `wanted` candidates that fit into the configured length and repeat no chunk."""
        added = list(shown)
        texts = {chunk.text for chunk in shown}
        size = sum(len(chunk.text) for chunk in shown)
        for chunk in candidates:
            if wanted == 0:
                break
            if chunk.text in texts or (added and size + len(chunk.text) > self._config.context_characters):
                continue
            added.append(chunk)
            texts.add(chunk.text)
            size += len(chunk.text)
            wanted -= 1
        return added

    def _found(self, hits: Sequence[str], row: QARow) -> list[int]:
        """Return the positions of the hits that may be shown although they do not answer the question.

        Chunks of other companies and policy types are left out, because a search is filtered by both. A chunk with the
        right chunk's title, from another product, is left out if the question does not name the product.
        """
        own = self._own(row)
        right = {chunk.chunk_id for chunk in self._right_chunks(row)}
        positions = [self._position[i] for i in hits if i in self._position and i not in right]
        return [i for i in positions if self._may_show(self._chunks[i], own, row["instruction"])]

    def _may_show(self, chunk: Chunk, own: Chunk, question: str) -> bool:
        same_policy = (chunk.metadata.company, chunk.metadata.policy_type) == (
            own.metadata.company,
            own.metadata.policy_type,
        )
        if not same_policy or chunk.text == own.text:
            return False
        if product(chunk) == product(own):
            return True
        return names_product(question, own, chunk) or not _answers_for_sibling(chunk, own)

    def _same_title(self, row: QARow, rng: Random) -> Iterator[int]:
        """Yield chunks with the title of the row's chunk from other documents, if the question names the product.

        If it does not, such a chunk might contain the answer.
        """
        own = self._own(row)
        for i in _sample(self._by_title[title(own)], rng, HARD_NEGATIVES):
            other = self._chunks[i]
            if other.metadata.source != own.metadata.source and names_product(row["instruction"], own, other):
                yield i

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
        """Yield the candidates that do not contain the answer, also not for another product."""
        quote, answer = remove_whitespace(row["evidence"]), _ngrams(row["output"])
        numbers = {q.key for q in quantities(row["output"])}
        for i in candidates:
            if quote and quote in remove_whitespace(self._chunks[i].text):
                continue
            other_numbers = bool(numbers) and not numbers <= self._numbers(i)
            if other_numbers or len(answer & self._ngrams(i)) < MAX_ANSWER_SHARE * len(answer):
                yield self._chunks[i]

    def _rng(self, purpose: str, row: QARow, repetition: int) -> Random:
        content = (row["chunk_id"], row["instruction"], row["output"])
        return Random(
            sha256_text(str(self._config.seed), purpose, *content, *([str(repetition)] if repetition else []))
        )


def _answers_for_sibling(chunk: Chunk, own: Chunk) -> bool:
    """Return whether a chunk of another product is about the same matter as the right chunk."""
    return product(chunk) != product(own) and title(chunk) == title(own)


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
