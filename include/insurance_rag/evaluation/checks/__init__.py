"""Rule-based checks that compare an answer with its context and return the faulty parts of the answer.

Some checks find visible faults: foreign tails, loops, echoes of the prompt, numbers and articles that are not in the
context, sentences that share few words with the context, and missing or wrong refusals. Others compare each clause of
the answer with the most similar statement of the context: its polarity, its parties, the bounds of its numbers, what a
number belongs to, and the cited article. The latter miss faults in free wording, which the judge or a person can find.

To add a check, add a module with a function decorated with `check`.
"""

from __future__ import annotations

from insurance_rag.evaluation.checks.registry import CHECKS, CheckedAnswer, ShownChunk, check, ordered_checks
from insurance_rag.evaluation.checks.verdict import check_answer

__all__ = ["CHECKS", "CheckedAnswer", "ShownChunk", "check", "check_answer", "ordered_checks"]
