"""The retrievers. Add one by adding a module with a builder that is decorated with `retriever`."""

from __future__ import annotations

from insurance_rag.retrieval.retrievers.registry import RETRIEVERS, retriever

__all__ = ["RETRIEVERS", "retriever"]
