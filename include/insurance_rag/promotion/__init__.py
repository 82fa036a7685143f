"""The gate: whether an adapter may replace the champion, and the registry that remembers who is."""

from __future__ import annotations

from insurance_rag.promotion.decide import decide

__all__ = ["decide"]
