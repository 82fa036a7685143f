"""Metric for answers that a trained verifier flags."""

from __future__ import annotations

from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation.checks.verified import VERIFIER
from insurance_rag.evaluation.metrics.registry import metric


def is_verified(row: ScoredAnswer) -> bool:
    """Return whether a verifier scored a sentence of the answer."""
    return row.verifier_score is not None


@metric(
    "verifier_flagged",
    title="Flagged by the verifier",
    title_ko="검증 모델이 지적한 답",
    description="Answers with a sentence that a trained verifier finds unsupported, among the answers that it scored. "
    "It does not score refusals and empty answers.",
    better="lower",
    population=is_verified,
    order=35,
)
def is_flagged(row: ScoredAnswer) -> bool:
    """Return whether the verifier found a sentence of the answer unsupported."""
    return any(finding.check == VERIFIER for finding in row.findings)
