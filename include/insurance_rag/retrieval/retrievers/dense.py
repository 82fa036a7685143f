"""Exact cosine search over embeddings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import atomic_write
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk
from insurance_rag.retrieval.base import Retriever, Scores, searchable_text
from insurance_rag.retrieval.embedders import Embedder, Vectors, check_korean, load_embedder
from insurance_rag.retrieval.retrievers.registry import retriever

log = logging.getLogger(__name__)

CACHED_QUERIES = 4096
"""Maximum number of question vectors in memory. A measurement searches for the same question several times."""


class DenseRetriever(Retriever):
    """Compares the query with every chunk, which takes milliseconds for up to 100,000 chunks.

    For more chunks, use an index server.
    """

    label = "dense"

    def __init__(self, chunks: Sequence[Chunk], config: RetrievalConfig, cache: Path | None = None) -> None:
        """Embed `chunks`, or load their vectors from `cache`.

        Raises InvalidInputError if the embedder is not configured, is not available or does not understand Korean.
        """
        super().__init__(chunks)
        if not config.embedder:
            raise InvalidInputError(
                "the dense retriever needs an embedder; add --set embedder=sentence-transformers:BAAI/bge-m3"
            )
        embedder = load_embedder(config.embedder, config)
        check_korean(embedder, config.embedder)
        texts = [searchable_text(chunk) for chunk in self.chunks]
        self._vectors = _vectors(texts, embedder, cache)
        self._query_vector = lru_cache(maxsize=CACHED_QUERIES)(lambda query: embedder.queries([query])[0])

    def scores(self, query: str) -> Scores:
        """Return the cosine similarity of the query to each chunk. Every chunk is a match."""
        scores: Scores = (self._vectors @ self._query_vector(query)).astype(np.float32)
        return scores


@retriever(
    "dense",
    title="Dense",
    description="Cosine similarity of embeddings. Needs an embedder that understands Korean.",
)
def build_dense(chunks: Sequence[Chunk], config: RetrievalConfig, cache: Path | None) -> Retriever:
    """Build the dense retriever."""
    return DenseRetriever(chunks, config, cache)


def _vectors(texts: list[str], embedder: Embedder, cache: Path | None) -> Vectors:
    """Return one unit vector per text. If the folder `cache` has them, load them. Otherwise, compute and store them."""
    if cache is None:
        return embedder.passages(texts)
    key = sha256_text(embedder.content_id(), embedder.passage_prefix, *texts)
    file = cache / f"dense-{key[:16]}.npy"
    try:
        if file.exists():
            stored: Vectors = np.load(file, allow_pickle=False)
            return stored
    except (OSError, ValueError, EOFError) as e:
        log.warning("%s: the vectors cannot be read (%s) and are computed again", file, e)
    vectors = embedder.passages(texts)
    try:
        with atomic_write(file, "wb") as f:
            np.save(f, vectors)
    except OSError as e:
        log.warning("%s: the vectors cannot be stored (%s); the next run computes them again", file, e)
    return vectors
