"""The retrievers. To add one, add a module with a builder function decorated with `retriever`."""

from __future__ import annotations

from insurance_rag.retrieval.retrievers.registry import RETRIEVERS, retriever

__all__ = ["RETRIEVERS", "retriever"]
