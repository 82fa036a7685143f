"""Build a retriever by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from insurance_rag.config import RetrievalConfig
from insurance_rag.core.records import Chunk
from insurance_rag.retrieval.base import Retriever
from insurance_rag.retrieval.reranking import RerankedRetriever, Reranker
from insurance_rag.retrieval.retrievers import RETRIEVERS


def build_retriever(
    kind: str, chunks: Sequence[Chunk], cache: Path | None = None, config: RetrievalConfig | None = None
) -> Retriever:
    """Return a retriever over `chunks`, with the configured reranker, if there is one.

    `cache` is a folder that keeps the retriever's index and the reranker's scores between runs. Raises
    InvalidInputError if the kind is unknown, a model is not available, or the embedder does not understand Korean.
    """
    config = config or RetrievalConfig()
    retriever = RETRIEVERS[kind].build(chunks, config, cache)
    if not config.reranker:
        return retriever
    return RerankedRetriever(retriever, Reranker(config.reranker, config, cache), config.rerank_depth)
