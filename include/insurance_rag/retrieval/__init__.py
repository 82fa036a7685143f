"""Find the clauses that answer a question: BM25 by default, dense and hybrid by choice.

retriever = build_retriever("bm25", chunks, cache=Path("cache"))
hits = retriever.search("암 진단비는 얼마인가요?", k=3, filters={"company": "한빛생명"})
"""

from __future__ import annotations

from insurance_rag.retrieval.build import build_retriever
from insurance_rag.retrieval.index import Hit, Retriever
from insurance_rag.retrieval.measure import measure_retrieval

__all__ = ["Hit", "Retriever", "build_retriever", "measure_retrieval"]
