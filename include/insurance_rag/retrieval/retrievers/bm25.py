"""BM25 over Korean morphemes and character bigrams."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk
from insurance_rag.retrieval import tokens
from insurance_rag.retrieval.base import Retriever, Scores, searchable_text
from insurance_rag.retrieval.bm25_index import Bm25Index
from insurance_rag.retrieval.retrievers.registry import retriever

log = logging.getLogger(__name__)


class Bm25Retriever(Retriever):
    """Uses Lucene's BM25 with the usual k1 and b. On Korean policies, other values or variants are no better."""

    label = "bm25"

    def __init__(self, chunks: Sequence[Chunk], cache: Path | None = None) -> None:
        """Index `chunks`, or load their index from `cache`. The index is stored under a hash of the texts."""
        super().__init__(chunks)
        texts = [searchable_text(chunk) for chunk in self.chunks]
        folder = cache / f"bm25-{sha256_text(tokens.VERSION, *texts)[:16]}" if cache else None
        index = _load(folder)
        if index is None:
            index = Bm25Index.build(tokens.encode(texts))
            if folder is not None:
                _save(index, folder)
        self.index = index

    def scores(self, query: str) -> Scores:
        """Return the BM25 scores; -inf for chunks without any query term."""
        scores = self.index.scores(tokens.terms([query])[0])
        scores[scores <= 0] = -np.inf
        return scores


@retriever(
    "bm25",
    title="BM25",
    description="Lexical search over Korean morphemes and character bigrams. Needs no model.",
)
def build_bm25(chunks: Sequence[Chunk], config: RetrievalConfig, cache: Path | None) -> Retriever:
    """Build the BM25 retriever."""
    return Bm25Retriever(chunks, cache)


def _load(folder: Path | None) -> Bm25Index | None:
    """Return the stored index, or None if it does not exist or cannot be read."""
    if folder is None or not folder.is_dir():
        return None
    try:
        return Bm25Index.load(folder)
    except (OSError, ValueError, KeyError) as e:
        log.warning("%s: the index cannot be read (%s) and is rebuilt", folder, e)
        return None


def _save(index: Bm25Index, folder: Path) -> None:
    """Store the index. If it cannot be written, log a warning."""
    try:
        index.save(folder)
    except OSError as e:
        log.warning("%s: the index cannot be stored (%s); the next run rebuilds it", folder, e)
