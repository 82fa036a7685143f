"""Training files out of validated rows: formats, contexts with distractors and refusals, balance, dataset card."""

from __future__ import annotations

from insurance_rag.dataset.build import CHAT, HELDOUT, MERGED, PLAIN, RAG, Built, Rows, build_datasets

__all__ = ["CHAT", "HELDOUT", "MERGED", "PLAIN", "RAG", "Built", "Rows", "build_datasets"]
