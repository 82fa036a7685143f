"""Validation: rules over generated rows, the split, the merge into training files, the report."""

from __future__ import annotations

from insurance_rag.validation.validate import validate_parts

__all__ = ["validate_parts"]
