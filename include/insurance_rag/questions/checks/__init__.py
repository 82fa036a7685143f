"""Checks of evaluation questions. To add a check, add a module with a function decorated with `question_check`."""

from __future__ import annotations

from insurance_rag.questions.checks.registry import QUESTION_CHECKS, find_problems, question_check

__all__ = ["QUESTION_CHECKS", "find_problems", "question_check"]
