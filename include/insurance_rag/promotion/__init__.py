"""The promotion gate, which decides whether an adapter may replace the champion, and the model registry."""

from __future__ import annotations

from insurance_rag.promotion.decide import decide

__all__ = ["decide"]
