"""The rules of the promotion gate.

The outcome of a rule is pass, fail or unknown. If it is unknown, the gate also reports how many more questions are
needed to decide between pass and fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from insurance_rag.config import PromotionConfig
from insurance_rag.core.metrics import Metric
from insurance_rag.core.records import Outcome, RuleOutcome, ScoredAnswer
from insurance_rag.core.registry import Registry, registry
from insurance_rag.core.stats import paired_interval, questions_needed, wilson

MIN_DISTANCE = 1e-3
"""Minimum distance between a difference and its limit.

If they are closer, no number of questions can decide whether the rule passes.
"""
MIN_DISCORDANCE = 0.02
MAX_QUESTIONS = 100_000

TITLES = {
    "same_questions": ("Same questions", "같은 질문"),
    "enough_questions": ("Enough questions", "질문 수"),
    "uncontaminated": ("Not trained on the questions' documents", "학습하지 않은 문서"),
    "no_worse": ("No worse than the champion", "챔피언보다 나쁘지 않음"),
    "better": ("Better than the champion", "챔피언보다 나음"),
}
"""Maps rule names to (English title, Korean title). A rule that limits a metric has the title of the metric instead."""


def metrics() -> Registry[Metric]:
    """Return the registry of metrics, which the gate shares with the evaluation."""
    found: Registry[Metric] = registry("metric")
    return found


def rule(name: str, outcome: Outcome, text: str, more_questions: int | None = None) -> RuleOutcome:
    """Return the outcome of a rule that is listed in `TITLES`."""
    title, title_ko = TITLES[name]
    return RuleOutcome(
        name=name, title=title, title_ko=title_ko, outcome=outcome, text=text, more_questions=more_questions
    )


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
        problem = (
            f"{missing} questions were answered by only one of them"
            if missing
            else "they were given different contexts"
        )
        yield rule("same_questions", "fail", f"{problem}; evaluate both in one run")
        return
    n = len(own)
    yield rule("same_questions", "pass", f"both answered the same {n} questions")
    lacking = policy.min_questions - n
    enough: Outcome = "pass" if lacking <= 0 else "unknown"
    yield rule(
        "enough_questions", enough, f"{n} questions, at least {policy.min_questions} needed", max(0, lacking) or None
    )
    yield from _against_champion(own, other, policy, confidence)
    for name, limit in policy.limits.items():
        if limit is not None:
            yield _within_limit(metrics()[name], challenger, limit, n, confidence)


def _against_champion(
    own: Mapping[str, ScoredAnswer], other: Mapping[str, ScoredAnswer], policy: PromotionConfig, confidence: float
) -> Iterator[RuleOutcome]:
    """Yield the outcome of the rule `no_worse` and, if the policy requires an improvement, of the rule `better`.

    Both outcomes follow from the confidence interval for the paired difference. A negative difference means that the
    challenger is better.
    """
    metric = metrics()[policy.metric]
    mine, theirs = (metric.outcomes(rows.values()) for rows in (own, other))
    common = mine.keys() & theirs.keys()
    n = len(common)
    only_own = sum(mine[q] and not theirs[q] for q in common)
    only_other = sum(theirs[q] and not mine[q] for q in common)
    if metric.better == "higher":
        only_own, only_other = only_other, only_own
    interval = paired_interval(only_other, only_own, n, confidence)
    if interval is None:
        yield rule("no_worse", "unknown", "there are no questions to compare", policy.min_questions)
        return
    low, high = interval
    difference, discordance = (only_own - only_other) / n, (only_own + only_other) / n
    figures = _difference_text(metric, difference, low, high)

    def further_questions(distance: float) -> int | None:
        """Return how many more questions are needed to detect a difference of `distance`.

        The result is None if no number is enough.
        """
        if abs(distance) < MIN_DISTANCE:
            return None
        wanted = questions_needed(
            min(1.0, abs(distance)), max(discordance, MIN_DISCORDANCE), policy.power, 1 - confidence
        )
        return max(1, wanted - n)

    outcome: Outcome = "pass" if high <= policy.margin else "fail" if low > policy.margin else "unknown"
    more = further_questions(policy.margin - difference) if outcome == "unknown" else None
    yield rule("no_worse", outcome, f"{figures}; at most {100 * policy.margin:+.1f} allowed", more)
    if policy.must_improve:
        equal = low > -policy.margin and high < policy.margin
        outcome = "pass" if high < 0 else "fail" if low > 0 or equal else "unknown"
        more = further_questions(difference) if outcome == "unknown" else None
        suffix = "; they are equally good" if equal and high >= 0 else ""
        yield rule("better", outcome, figures + suffix, more)


def _difference_text(metric: Metric, difference: float, low: float, high: float) -> str:
    """Return the difference in percentage points as text. A positive value means that the challenger is worse."""
    worse = "" if metric.better == "lower" else " worse"
    return (
        f"{metric.title.lower()} {100 * difference:+.1f} points{worse} [{100 * low:+.1f}, {100 * high:+.1f}] "
        "compared with the champion"
    )


def _within_limit(
    metric: Metric, rows: Sequence[ScoredAnswer], limit: float, asked: int, confidence: float
) -> RuleOutcome:
    """Compare a metric's confidence interval with the metric's limit, and return the outcome.

    If lower values of the metric are better, the limit is a maximum. Otherwise, it is a minimum. `asked` is the number
    of questions.
    """

    def outcome(name: Outcome, text: str, more: int | None) -> RuleOutcome:
        return RuleOutcome(
            name=metric.name,
            title=metric.title,
            title_ko=metric.title_ko,
            outcome=name,
            text=text,
            more_questions=more,
        )

    figures = metric.rate(rows)
    count, n = figures.count, figures.n
    interval = wilson(count, n, confidence)
    if interval is None:
        return outcome("unknown", f"{metric.name}: there are no questions of this kind", asked or None)
    low, high = interval
    found = _compare(metric, low, high, limit)
    bound = "at most" if metric.better == "lower" else "at least"
    text = f"{count} of {n}, {100 * low:.1f}-{100 * high:.1f} %; {bound} {100 * limit:.0f} % allowed"
    return outcome(
        found, text, _further_questions(metric, count, n, limit, asked, confidence) if found == "unknown" else None
    )


def _compare(metric: Metric, low: float, high: float, limit: float) -> Outcome:
    """Return pass or fail if the whole interval is on one side of the limit, and unknown if it contains the limit."""
    if metric.better == "lower":
        return "pass" if high <= limit else "fail" if low > limit else "unknown"
    return "pass" if low >= limit else "fail" if high < limit else "unknown"


def _further_questions(metric: Metric, count: int, n: int, limit: float, asked: int, confidence: float) -> int | None:
    """Return how many more questions are needed to decide between pass and fail, or None if too many are needed.

    So far, `asked` questions were asked. The metric's population has `n` of the answers, and the metric counts `count`
    of these. The estimate assumes that the rate `count / n` and the fraction `n / asked` stay the same.
    """
    wanted = n
    while wanted < MAX_QUESTIONS:
        wanted = wanted * 11 // 10 + 1
        low, high = wilson(round(count * wanted / n), wanted, confidence) or (0.0, 1.0)
        if _compare(metric, low, high, limit) != "unknown":
            return (wanted - n) * asked // n
    return None
