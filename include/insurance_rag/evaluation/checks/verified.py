"""The check that reports what a trained verifier found."""

from __future__ import annotations

from collections.abc import Iterator

from insurance_rag.evaluation.checks.registry import CheckedAnswer, check

VERIFIER = "verifier"
"""Name of the check."""


@check(
    VERIFIER,
    title="Unsupported by the verifier",
    title_ko="검증 모델: 근거 없음",
    description="A trained verifier scores the sentence below its threshold. Only evaluations with a verifier have "
    "such findings. They count as hallucination only if `verifier_counts` is set.",
    hallucination=False,
    order=90,
)
def find_unverified_sentences(answer: CheckedAnswer) -> Iterator[str]:
    """Yield the sentences that the verifier found unsupported."""
    yield from answer.unsupported
