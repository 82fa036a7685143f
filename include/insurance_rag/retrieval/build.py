"""Choose a retriever by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk
from insurance_rag.retrieval.bm25 import Bm25Retriever
from insurance_rag.retrieval.index import Retriever


def build_retriever(
    kind: str, chunks: Sequence[Chunk], cache: Path | None = None, config: RetrievalConfig | None = None
) -> Retriever:
    """A retriever over `chunks`; `cache` is a folder where its index is kept between runs.

    Raises InvalidInputError for an unknown kind, an embedder that cannot be had, or one that cannot read Korean.
    """
    config = config or RetrievalConfig()
    if kind not in ("bm25", "dense", "hybrid"):
        raise InvalidInputError(f"retriever {kind!r}: choose bm25, dense or hybrid")
    if kind == "bm25":
        return Bm25Retriever(chunks, cache)
    from insurance_rag.retrieval.dense import DenseRetriever, HybridRetriever

    dense = DenseRetriever(chunks, config, cache)
    return dense if kind == "dense" else HybridRetriever(Bm25Retriever(chunks, cache), dense, config)
