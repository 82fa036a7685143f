"""Exact cosine search over embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import atomic_write
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk
from insurance_rag.retrieval.base import Retriever, Scores, searchable_text
from insurance_rag.retrieval.embedders import Embed, Vectors, check_korean, load_embedder
from insurance_rag.retrieval.retrievers.registry import retriever


class DenseRetriever(Retriever):
    """Compares the query with every chunk, which takes milliseconds for up to 100,000 chunks.

    For more chunks, use an index server.
    """

    def __init__(self, chunks: Sequence[Chunk], config: RetrievalConfig, cache: Path | None = None) -> None:
        """Embed `chunks`, or load their vectors from `cache`.

        Raises InvalidInputError if the embedder is not configured, is not available or does not understand Korean.
        """
        super().__init__(chunks)
        if not config.embedder:
            raise InvalidInputError(
                "the dense retriever needs an embedder; add --set embedder=sentence-transformers:BAAI/bge-m3"
            )
        self._embed = load_embedder(config.embedder)
        check_korean(self._embed, config.embedder)
        texts = [searchable_text(chunk) for chunk in self.chunks]
        file = cache / f"dense-{sha256_text(config.embedder, *texts)[:16]}.npy" if cache else None
        self._vectors = _vectors(texts, self._embed, file)

    def scores(self, query: str) -> Scores:
        """Return the cosine similarity of the query to each chunk. Every chunk is a match."""
        scores: Scores = (self._vectors @ self._embed([query])[0]).astype(np.float32)
        return scores


@retriever(
    "dense",
    title="Dense",
    description="Cosine similarity of embeddings. Needs an embedder that understands Korean.",
)
def build_dense(chunks: Sequence[Chunk], config: RetrievalConfig, cache: Path | None) -> Retriever:
    """Build the dense retriever."""
    return DenseRetriever(chunks, config, cache)


def _vectors(texts: list[str], embed: Embed, file: Path | None) -> Vectors:
    """Return one unit vector per text. If `file` exists, load them from it. Otherwise, compute and store them."""
    if file and file.exists():
        stored: Vectors = np.load(file, allow_pickle=False)
        return stored
    vectors = embed(texts)
    if file:
        with atomic_write(file, "wb") as f:
            np.save(f, vectors)
    return vectors
