"""Count the decisions that were made on the same questions, and correct the confidence level for them.

Each decision on the same questions is another chance that a challenger looks better by luck.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from insurance_rag.config import PromotionConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import DecisionLogEntry, ScoredAnswer


def question_set(rows: Iterable[ScoredAnswer]) -> str:
    """Return a hash of the questions in `rows`: their ids, texts and reference answers, in any order."""
    questions = sorted({(row.question_id, row.question, row.reference_answer or "") for row in rows})
    return sha256_text(*(part for question in questions for part in question))


def policy_sha256(policy: Mapping[str, JsonValue]) -> str:
    """Return a hash of all settings of a policy."""
    return sha256_text(json.dumps(policy, sort_keys=True))


def count_earlier(log: Iterable[DecisionLogEntry], questions: str, answers: str, policy: str) -> int:
    """Return how many decisions in `log` were made on the question set with the hash `questions`.

    A decision is identified by the hashes of its answers and its policy. Repeating a decision, e.g. in a task that is
    tried twice, counts once. If the decision identified by `answers` and `policy` is in `log`, only the decisions
    before it are counted, so that repeating it gives the same result.
    """
    seen: set[tuple[str | None, str | None]] = set()
    for entry in log:
        if entry.question_set != questions:
            continue
        if (entry.answers_sha256, entry.policy_sha256) == (answers, policy):
            break
        seen.add((entry.answers_sha256, entry.policy_sha256))
    return len(seen)


def corrected_confidence(policy: PromotionConfig, challengers: int, earlier: int | None) -> float:
    """Return the confidence level for every interval of a decision.

    The chance of an error, a = 1 - confidence, is divided by the number of challengers (Bonferroni). With
    `repeated_looks: adjust`, the k-th decision on the same questions may use a / (k (k + 1)) of it: 1/2, 1/6, 1/12 and
    so on. The sum over all k is a, so that the chance of any error in all decisions together is at most a.
    """
    alpha = (1 - policy.confidence) / max(1, challengers)
    if policy.repeated_looks == "adjust" and earlier is not None:
        alpha /= (earlier + 1) * (earlier + 2)
    return 1 - alpha


def looks_text(policy: PromotionConfig, earlier: int, questions: int, confidence: float) -> tuple[str, str]:
    """Return the number of the decision on these questions, and what it means for the chance of a wrong promotion.

    The result is a tuple (English text, Korean text).
    """
    text_ko = f"이 질문 {questions}개로 내린 {earlier + 1}번째 판정입니다."
    text = f"the {_ordinal(earlier + 1)} decision on these {questions} questions"
    if policy.repeated_looks == "adjust":
        level = f"{100 * confidence:.4g}"
        return (
            f"{text}; the intervals are at {level} % to allow for repeated decisions",
            f"{text_ko} 반복된 판정을 감안해 {level}% 신뢰구간을 사용합니다.",
        )
    if earlier == 0:
        return text, text_ko
    # One side of the interval promotes wrongly. The sum is an upper bound, however the decisions are correlated.
    chance = min(1.0, (earlier + 1) * (1 - policy.confidence) / 2)
    return (
        f"{text}; the chance that at least one of them promotes a challenger that is not better is up to "
        f"{100 * chance:.0f} %; use new questions, or set repeated_looks: adjust",
        f"{text_ko} 그중 하나라도 더 낫지 않은 모델을 승격할 확률은 최대 {100 * chance:.0f}%입니다. "
        "새 질문을 사용하거나 repeated_looks: adjust를 설정하십시오.",
    )


def _ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, ..., 11th, 12th, 13th, ..., 21st."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
