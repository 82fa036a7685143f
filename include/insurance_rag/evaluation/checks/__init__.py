"""Checks of an answer against its context: rules without a model, each with the span that it objects to.

They find visible contradictions: foreign tails, loops, echoes of the prompt, numbers and articles that the context does
not contain, sentences that share no words with it, refusals in the wrong place. They cannot find a negation, swapped
roles, or a number from another part of the context; a judge or a person can.

Add a check by adding a module with a function that is decorated with `check`.
"""

from __future__ import annotations

from insurance_rag.evaluation.checks.registry import CHECKS, CheckedAnswer, check, ordered_checks
from insurance_rag.evaluation.checks.verdict import check_answer

__all__ = ["CHECKS", "CheckedAnswer", "check", "check_answer", "ordered_checks"]
