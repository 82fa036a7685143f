"""Find the chunks that answer a question, with BM25 (the default), dense or hybrid retrieval, and a reranker.

    retriever = build_retriever("bm25", chunks, cache=Path("cache"))
    hits = retriever.search("암 진단비는 얼마인가요?", k=3, filters={"company": "한빛생명"})

The package `retrievers` is a registry. To add a retriever, add one file to it.
"""

from __future__ import annotations

from insurance_rag.retrieval.base import Hit, Retriever
from insurance_rag.retrieval.build import build_retriever
from insurance_rag.retrieval.measure import measure_retrieval

__all__ = ["Hit", "Retriever", "build_retriever", "measure_retrieval"]
