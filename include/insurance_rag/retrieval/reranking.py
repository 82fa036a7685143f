"""Sorts the hits of another retriever with a cross-encoder, which reads question and chunk together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.retrieval.base import Filters, Hit, Part, Retriever, Scores, searchable_text
from insurance_rag.retrieval.local_models import PREFIX, content_id, load_cross_encoder
from insurance_rag.retrieval.score_cache import ScoreCache

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder


class Reranker:
    """Scores pairs of a question and a passage. The model is only loaded when a score is not in the cache."""

    def __init__(self, name: str, config: RetrievalConfig, cache: Path | None = None) -> None:
        """Read the stored scores of this model in `cache`. Without stored scores, load the model at once.

        Raises InvalidInputError if the model cannot be loaded.
        """
        self._name, self._config = name.removeprefix(PREFIX), config
        file = cache / f"rerank-{sha256_text(content_id(self._name))[:16]}.jsonl" if cache else None
        if file is None or not file.exists():
            _ = self._model  # report a wrong name before the first search
        self._cache = ScoreCache(file)

    @cached_property
    def _model(self) -> CrossEncoder:
        return load_cross_encoder(self._name, self._config)

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """Return one score per passage; a higher score means a better match.

        Raises InvalidInputError if the model returns a score that is not a number.
        """
        found = self._cache.find(question, passages)
        missing = list(dict.fromkeys(text for text, score in zip(passages, found, strict=True) if score is None))
        if missing:
            self._cache.add(question, dict(zip(missing, self._predict(question, missing), strict=True)))
        return [score for score in self._cache.find(question, passages) if score is not None]

    def _predict(self, question: str, passages: Sequence[str]) -> list[float]:
        # The default sigmoid gives equal scores to all passages that match well.
        scores = self._model.predict(
            [(question, passage) for passage in passages],
            batch_size=self._config.batch_size,
            activation_fn=lambda logits: logits,
            show_progress_bar=False,
        )
        values = [float(score) for score in scores]
        if not all(map(math.isfinite, values)):
            raise InvalidInputError(
                f"reranker {self._name}: returns scores that are not numbers; use another model or device"
            )
        return values


class RerankedRetriever(Retriever):
    """Searches with another retriever and sorts its first hits by the scores of a reranker."""

    def __init__(self, first_stage: Retriever, reranker: Reranker, depth: int) -> None:
        super().__init__(first_stage.chunks)
        self._first_stage, self._reranker, self._depth = first_stage, reranker, depth
        self._passages = {chunk.chunk_id: searchable_text(chunk) for chunk in self.chunks}
        self.label = f"{first_stage.label} with reranker"
        self.parts = (Part("without reranker", first_stage, "leave out the reranker, or use another one"),)

    def scores(self, query: str) -> Scores:
        """Return the scores of the first stage. Only `search` asks the reranker, and only about the first hits."""
        return self._first_stage.scores(query)

    def search(self, query: str, k: int = 10, filters: Filters | None = None) -> list[Hit]:
        """Return up to `k` hits of the first stage, sorted by the reranker. Equal scores keep their order."""
        hits = self._first_stage.search(query, max(k, self._depth), filters)
        scores = self._reranker.scores(query, [self._passages[hit.chunk_id] for hit in hits])
        scored = [replace(hit, score=score) for hit, score in zip(hits, scores, strict=True)]
        return sorted(scored, key=lambda hit: -hit.score)[:k]
