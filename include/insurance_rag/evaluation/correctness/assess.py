"""Decide whether one answer is correct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from insurance_rag.core.records import Correctness, CorrectnessProblem, CorrectnessProblemKind, Question
from insurance_rag.korean import quantities, refusal


@dataclass(frozen=True)
class Expected:
    """What a correct answer to a question must say."""

    question: str
    answerable: bool
    reference: str | None
    required_numbers: Sequence[str]
    gold_texts: Sequence[str]

    @classmethod
    def of(cls, question: Question, gold_texts: Sequence[str]) -> Expected:
        """Return what the question's record expects. `gold_texts` are the texts of its gold chunks."""
        return cls(
            question.question,
            question.answerable,
            question.reference_answer,
            tuple(question.required_numbers),
            tuple(gold_texts),
        )


def assess(answer: str, expected: Expected) -> Correctness:
    """Return whether the answer is correct, and everything that is wrong with it."""
    if expected.answerable and not expected.reference:
        return Correctness(correct=None, cannot_judge="the question has no reference answer")
    if not answer.strip():
        return _wrong("empty", "the answer is empty")
    level = refusal(answer)
    if not expected.answerable:
        return Correctness(correct=True) if level == "full" else _wrong("missed_refusal", "the answer does not refuse")
    if level == "full":
        return _wrong("refusal", "the answer refuses, but the policy answers the question")
    stated = {quantity.key for quantity in quantities(answer)}
    missing = [n for n in expected.required_numbers if not {q.key for q in quantities(n)} <= stated]
    return _wrong("missing_number", ", ".join(missing)) if missing else Correctness(correct=True)


def _wrong(kind: CorrectnessProblemKind, text: str) -> Correctness:
    return Correctness(correct=False, problems=(CorrectnessProblem(kind=kind, text=text),))
