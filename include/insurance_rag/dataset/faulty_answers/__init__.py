"""Makes faulty answers: wrong answers that differ from a right one in one place."""

from __future__ import annotations

from insurance_rag.dataset.faulty_answers.registry import FAULTS, FaultyAnswer, RightAnswer, insert_fault

__all__ = ["FAULTS", "FaultyAnswer", "RightAnswer", "insert_fault"]
