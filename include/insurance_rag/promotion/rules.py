"""The rules of the gate. Each passes, fails, or is unknown and then says how many more questions would settle it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from insurance_rag.config import PromotionConfig
from insurance_rag.core.stats import paired_interval, questions_needed, wilson

Outcome = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True)
class Rule:
    """What one rule says of a challenger; `more_questions` settle it if what was seen so far goes on."""

    name: str
    outcome: Outcome
    text: str
    more_questions: int | None = None


def judge(challenger: Sequence[dict[str, Any]], champion: Sequence[dict[str, Any]], policy: PromotionConfig,
          confidence: float) -> Iterator[Rule]:  # fmt: skip
    """Every rule for one challenger, from the rows of answers.jsonl of the two models."""
    own, other = ({row["question_id"]: row for row in rows} for rows in (challenger, champion))
    missing = len(own.keys() ^ other.keys())
    if missing or any(own[q]["context"] != other[q]["context"] for q in own):
        text = (
            f"{missing} questions were answered by one of them only" if missing else "they were shown different clauses"
        )
        yield Rule("same_questions", "fail", f"{text}; evaluate both in one run")
        return
    n = len(own)
    yield Rule("same_questions", "pass", f"both answered the same {n} questions")
    lacking = policy.min_questions - n
    enough: Outcome = "pass" if lacking <= 0 else "unknown"
    yield Rule(
        "enough_questions", enough, f"{n} questions, at least {policy.min_questions} wanted", max(0, lacking) or None
    )
    yield from _against_champion(own, other, policy, confidence)
    answerable = [row for row in challenger if row["answerable"] and row["gold_in_context"]]
    unanswerable = [row for row in challenger if not row["answerable"]]
    refusals = sum(row["refusal"] == "full" for row in answerable)
    answers = sum(row["refusal"] == "none" and bool(row["answer"]) for row in unanswerable)
    empty = sum(not row["answer"] for row in challenger)
    yield _bounded("false_refusal", refusals, len(answerable), policy.max_false_refusal, n, confidence)
    yield _bounded("empty", empty, n, policy.max_empty, n, confidence)
    yield _bounded("missed_refusal", answers, len(unanswerable), policy.max_missed_refusal, n, confidence)


def _against_champion(
    own: dict[str, Any], other: dict[str, Any], policy: PromotionConfig, confidence: float
) -> Iterator[Rule]:
    """No worse by more than the margin, and better; both from one interval of the paired difference."""
    n = len(own)
    only_own = sum(own[q]["hallucinated"] and not other[q]["hallucinated"] for q in own)
    only_other = sum(other[q]["hallucinated"] and not own[q]["hallucinated"] for q in own)
    interval = paired_interval(only_other, only_own, n, confidence)
    if interval is None:
        yield Rule("no_worse", "unknown", "there is no question", policy.min_questions)
        return
    low, high = interval
    difference, discordance = (only_own - only_other) / n, (only_own + only_other) / n
    seen = f"hallucinations {100 * difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}] against the champion"

    def needed(distance: float) -> int | None:
        """Further questions until an interval of this half width; None if the distance is nil."""
        if abs(distance) < 1e-3:
            return None
        wanted = questions_needed(min(1.0, abs(distance)), max(discordance, 0.02), policy.power, 1 - confidence)
        return max(1, wanted - n)

    outcome: Outcome = "pass" if high <= policy.margin else "fail" if low > policy.margin else "unknown"
    more = needed(policy.margin - difference) if outcome == "unknown" else None
    yield Rule("no_worse", outcome, f"{seen}; at most {100 * policy.margin:+.1f} allowed", more)
    if policy.must_improve:
        equal = low > -policy.margin and high < policy.margin
        outcome = "pass" if high < 0 else "fail" if low > 0 or equal else "unknown"
        more = needed(difference) if outcome == "unknown" else None
        yield Rule("better", outcome, seen + ("; they are as good as each other" if equal and high >= 0 else ""), more)


def _bounded(name: str, count: int, n: int, bound: float, asked: int, confidence: float) -> Rule:
    interval = wilson(count, n, confidence)
    if interval is None:
        return Rule(name, "unknown", f"{name}: no question of this kind was asked", asked or None)
    low, high = interval
    outcome: Outcome = "pass" if high <= bound else "fail" if low > bound else "unknown"
    text = f"{count} of {n}, {100 * low:.1f}-{100 * high:.1f} %; at most {100 * bound:.0f} % allowed"
    return Rule(name, outcome, text, _more(count, n, bound, asked, confidence) if outcome == "unknown" else None)


def _more(count: int, n: int, bound: float, asked: int, confidence: float) -> int | None:
    """Further questions until the interval of the same rate leaves the bound on one side."""
    wanted = n
    while wanted < 100_000:
        wanted = wanted * 11 // 10 + 1
        low, high = wilson(round(count * wanted / n), wanted, confidence) or (0.0, 1.0)
        if high <= bound or low > bound:
            return (wanted - n) * asked // n  # only some of the questions are of this kind
    return None
