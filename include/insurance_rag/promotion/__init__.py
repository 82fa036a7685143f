"""The promotion gate: decides whether an adapter may replace the champion; the model registry keeps the champion."""

from __future__ import annotations

from insurance_rag.promotion.decide import decide

__all__ = ["decide"]
