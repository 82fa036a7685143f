"""BM25 and dense retrieval combined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.records import Chunk
from insurance_rag.retrieval.base import Part, Retriever, Scores
from insurance_rag.retrieval.retrievers.bm25 import Bm25Retriever
from insurance_rag.retrieval.retrievers.dense import DenseRetriever
from insurance_rag.retrieval.retrievers.registry import retriever


class HybridRetriever(Retriever):
    """Combines a lexical and a dense ranking by weighted reciprocal rank fusion (Cormack, Clarke and Büttcher 2009).

    A chunk's score is the sum of weight / (rrf_constant + rank) over both rankings. Scores cannot be added instead,
    because lexical and dense scores are not on the same scale.
    """

    label = "hybrid"

    def __init__(self, lexical: Retriever, dense: Retriever, config: RetrievalConfig) -> None:
        super().__init__(lexical.chunks)
        self._weighted = ((lexical, 1 - config.dense_weight), (dense, config.dense_weight))
        weight = f"set dense_weight {{}} {config.dense_weight:g}"
        self.parts = (
            Part("bm25", lexical, f"use --retriever bm25, or {weight.format('below')}"),
            Part("dense", dense, f"use --retriever dense, or {weight.format('above')}"),
        )
        self._constant = config.rrf_constant

    def scores(self, query: str) -> Scores:
        """Return the combined scores; -inf for chunks that match in neither ranking."""
        total = np.full(len(self.chunks), -np.inf, dtype=np.float32)
        for part, weight in self._weighted:
            scores = part.scores(query)
            order = np.argsort(-scores, kind="stable")
            rank = np.empty(len(order), dtype=np.float32)
            rank[order] = np.arange(1, len(order) + 1)
            gain = np.where(scores > -np.inf, weight / (self._constant + rank), 0)
            total = np.where(gain > 0, np.where(total > -np.inf, total, 0) + gain, total)
        return total.astype(np.float32)


@retriever(
    "hybrid",
    title="Hybrid",
    description="Reciprocal rank fusion of BM25 and dense retrieval. Needs an embedder that understands Korean.",
)
def build_hybrid(chunks: Sequence[Chunk], config: RetrievalConfig, cache: Path | None) -> Retriever:
    """Build a BM25 retriever and a dense retriever, and combine them."""
    dense = DenseRetriever(chunks, config, cache)
    return HybridRetriever(Bm25Retriever(chunks, cache), dense, config)
