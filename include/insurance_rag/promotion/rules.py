"""The rules of the promotion gate.

The outcome of a rule is pass, fail or unknown. If it is unknown, the gate also reports how many more questions are
needed to decide between pass and fail. A challenger is promoted only if every rule passes. docs/promotion.md explains
the rules and their statistics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from insurance_rag.config import PromotionConfig
from insurance_rag.core.metrics import Metric
from insurance_rag.core.records import Outcome, Rate, RuleFigures, RuleOutcome, ScoredAnswer
from insurance_rag.core.stats import Clustering, wilson
from insurance_rag.promotion.comparison import compare_with_champion, nothing_to_compare
from insurance_rag.promotion.outcomes import metrics, rule

MAX_QUESTIONS = 100_000
CORRECTNESS = {"correct", "raw_correct"}
"""Metrics that compare an answer with its reference."""


def apply_rules(
    challenger: Sequence[ScoredAnswer], champion: Sequence[ScoredAnswer], policy: PromotionConfig, confidence: float
) -> Iterator[RuleOutcome]:
    """Yield the outcome of every rule for one challenger. `confidence` is the confidence level of all intervals.

    If the two models did not answer the same questions with the same contexts, the only outcome is a failed rule
    `same_questions`.
    """
    own, other = ({row.question_id: row for row in rows} for rows in (challenger, champion))
    missing = len(own.keys() ^ other.keys())
    if missing or any(own[q].context != other[q].context for q in own):
        problem, problem_ko = (
            (f"{missing} questions were answered by only one of them", f"질문 {missing}개에 한 모델만 답했습니다.")
            if missing
            else ("they were given different contexts", "두 모델에 서로 다른 청크를 제공했습니다.")
        )
        text_ko = f"{problem_ko} 한 번의 평가에서 함께 평가하십시오."
        yield rule("same_questions", "fail", f"{problem}; evaluate both in one run", text_ko=text_ko)
        return
    n = len(own)
    text_ko = f"두 모델이 같은 질문 {n}개에 답했습니다."
    yield rule("same_questions", "pass", f"both answered the same {n} questions", text_ko=text_ko)
    lacking = policy.min_questions - n
    enough: Outcome = "pass" if lacking <= 0 else "unknown"
    text = f"{n} questions, at least {policy.min_questions} needed"
    text_ko = f"질문 {n}개, 최소 {policy.min_questions}개 필요"
    yield rule("enough_questions", enough, text, max(0, lacking) or None, text_ko=text_ko)
    if CORRECTNESS & {policy.metric, *_set(policy.margins), *_set(policy.limits)}:
        yield _judged([*champion, *challenger], policy.min_judged)
    yield from compare_with_champion(own, other, policy, confidence)
    for name, limit in policy.limits.items():
        if limit is not None:
            yield _within_limit(metrics()[name], challenger, limit, n, confidence)


def _set(values: dict[str, float | None]) -> set[str]:
    return {name for name, value in values.items() if value is not None}


def _judged(rows: Sequence[ScoredAnswer], min_judged: float) -> RuleOutcome:
    """Return pass if the correctness of enough answers to answerable questions could be judged, otherwise unknown."""
    due = [row for row in rows if row.answerable]
    reasons = Counter(
        row.correctness.cannot_judge or "unknown reason" for row in due if row.correctness.correct is None
    )
    judged = len(due) - reasons.total()
    if due and judged >= min_judged * len(due):
        text = f"{judged} of {len(due)} answers to answerable questions can be judged"
        return rule(
            "judged", "pass", text, text_ko=f"답변 가능한 질문의 답 {len(due)}개 중 {judged}개를 채점할 수 있습니다."
        )
    if not due:
        return rule("judged", "unknown", "cannot judge: no question is answerable; add answerable questions")
    listed = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
    text = (
        f"cannot judge {reasons.total()} of {len(due)} answers to answerable questions: {listed}; at least "
        f"{100 * min_judged:.0f} % must be judged; add reference answers to the question file"
    )
    return rule("judged", "unknown", text)


def _within_limit(
    metric: Metric, rows: Sequence[ScoredAnswer], limit: float, asked: int, confidence: float
) -> RuleOutcome:
    """Compare a metric's confidence interval with the metric's limit, and return the outcome.

    If lower values of the metric are better, the limit is a maximum. Otherwise, it is a minimum. `asked` is the number
    of questions.
    """
    figures = metric.rate(rows, confidence)
    low, high = figures.low, figures.high
    if low is None or high is None:
        return rule(metric.name, "unknown", nothing_to_compare(metric))
    found = _compare(metric, low, high, limit)
    bound = "at most" if metric.better == "lower" else "at least"
    text = f"{figures.count} of {figures.n}, {100 * low:.1f}-{100 * high:.1f} %; {bound} {100 * limit:.0f} % allowed"
    more = _further_questions(metric, figures, limit, asked, confidence) if found == "unknown" else None
    shown = RuleFigures(
        metric=metric.name,
        n=figures.n,
        own=figures.count / figures.n,
        champion=None,
        low=low,
        high=high,
        allowed=limit,
        bound="at_most" if metric.better == "lower" else "at_least",
    )
    return rule(metric.name, found, text, more, shown)


def _compare(metric: Metric, low: float, high: float, limit: float) -> Outcome:
    """Return pass or fail if the whole interval is on one side of the limit, and unknown if it contains the limit."""
    if metric.better == "lower":
        return "pass" if high <= limit else "fail" if low > limit else "unknown"
    return "pass" if low >= limit else "fail" if high < limit else "unknown"


def _further_questions(metric: Metric, figures: Rate, limit: float, asked: int, confidence: float) -> int | None:
    """Return how many more questions are needed to decide between pass and fail, or None if too many are needed.

    So far, `asked` questions were asked, which gave `figures`. The estimate assumes that the rate, the design effect
    and the fraction of the questions in the metric's population stay the same.
    """
    count, n = figures.count, figures.n
    clustering = Clustering(0, figures.design_effect, figures.design_effect or 1.0)
    wanted = n
    while wanted < MAX_QUESTIONS:
        wanted = wanted * 11 // 10 + 1
        low, high = wilson(round(count * wanted / n), wanted, confidence, clustering) or (0.0, 1.0)
        if _compare(metric, low, high, limit) != "unknown":
            return (wanted - n) * asked // n
    return None
