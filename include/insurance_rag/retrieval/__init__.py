"""Find the chunks that answer a question: BM25 by default, dense and hybrid retrieval on request.

    retriever = build_retriever("bm25", chunks, cache=Path("cache"))
    hits = retriever.search("암 진단비는 얼마인가요?", k=3, filters={"company": "한빛생명"})

`retrievers` is a registry: a new retriever is one new file there.
"""

from __future__ import annotations

from insurance_rag.retrieval.base import Hit, Retriever
from insurance_rag.retrieval.build import build_retriever
from insurance_rag.retrieval.measure import measure_retrieval

__all__ = ["Hit", "Retriever", "build_retriever", "measure_retrieval"]
