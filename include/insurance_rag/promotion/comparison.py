"""The rules that compare a challenger with the champion: better in one metric, no worse in the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from insurance_rag.config import PromotionConfig
from insurance_rag.core.metrics import Metric, question_clusters
from insurance_rag.core.records import Outcome, RuleFigures, RuleOutcome, ScoredAnswer
from insurance_rag.core.stats import estimate_clustering, paired_interval, questions_needed
from insurance_rag.promotion.outcomes import NO_WORSE, metrics, rule

Answers = Mapping[str, ScoredAnswer]
"""Question id -> a model's answer."""

MIN_DISTANCE = 1e-3
"""Minimum distance between a difference and its limit.

If they are closer, no number of questions can decide whether the rule passes.
"""
MIN_DISCORDANCE = 0.02


@dataclass(frozen=True)
class Comparison:
    """The paired difference between a challenger and the champion in one metric."""

    metric: Metric
    asked: int
    """Number of questions that both models answered."""
    n: int
    """Number of these questions that are in the metric's population."""
    own: float
    """Rate of the challenger."""
    other: float
    """Rate of the champion."""
    discordance: float
    """Fraction of the questions on which the models differ."""
    design_effect: float
    """How many times larger the variance of the difference is than with independent questions."""
    low: float
    """Lower end of the confidence interval for `own - other`."""
    high: float
    """Upper end of the confidence interval for `own - other`."""

    @property
    def gain(self) -> float:
        """How much better the challenger is; negative if it is worse."""
        return self.other - self.own if self.metric.better == "lower" else self.own - self.other

    @property
    def gain_interval(self) -> tuple[float, float]:
        """The confidence interval for `gain`."""
        return (-self.high, -self.low) if self.metric.better == "lower" else (self.low, self.high)

    @property
    def text(self) -> str:
        """Both rates and the difference with its interval, in percentage points."""
        return (
            f"{100 * self.own:.1f} % against {100 * self.other:.1f} % of {self.n} questions: "
            f"{100 * (self.own - self.other):+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        )

    def figures(self, allowed: float, *, strict: bool = False) -> RuleFigures:
        """Return the figures of a rule that allows a loss of at most `allowed`; with `strict`, it requires a gain."""
        lower = self.metric.better == "lower"
        return RuleFigures(
            metric=self.metric.name,
            n=self.n,
            own=self.own,
            champion=self.other,
            low=self.low,
            high=self.high,
            allowed=allowed if lower else 0.0 - allowed,
            bound=("less_than" if lower else "more_than") if strict else ("at_most" if lower else "at_least"),
        )

    def further_questions(self, distance: float, power: float, confidence: float) -> int | None:
        """Return how many more questions are needed to detect a difference of `distance`.

        The estimate assumes that the models differ on the same fraction of the questions, that the same fraction of the
        questions is in the population, and that the design effect stays the same. Returns None if no number is enough.
        """
        if abs(distance) < MIN_DISTANCE:
            return None
        discordance = max(self.discordance, MIN_DISCORDANCE)
        distance = min(1.0, abs(distance))
        wanted = questions_needed(distance, discordance, power, 1 - confidence, self.design_effect)
        return max(1, math.ceil((wanted - self.n) * self.asked / self.n))


def compare(metric: Metric, own: Answers, other: Answers, confidence: float) -> Comparison | None:
    """Compare two models on the questions for which the champion's answer is in the metric's population.

    A challenger's answer that is not in the population counts against the challenger. Otherwise, a model could leave
    out the questions on which it is wrong by giving answers that cannot be judged. Returns None if the population is
    empty.
    """
    mine, theirs = (metric.outcomes(answers.values()) for answers in (own, other))
    n = len(theirs)
    if n == 0:
        return None
    missing = metric.better == "lower"
    differences = {question: mine.get(question, missing) - outcome for question, outcome in theirs.items()}
    clusters = question_clusters([other[question] for question in differences])
    values = [*differences.values()]
    clustering = estimate_clustering(values, [clusters[question] for question in differences])
    only_own, only_other = values.count(1), values.count(-1)
    low, high = paired_interval(only_other, only_own, n, confidence, clustering) or (-1.0, 1.0)
    champion = sum(theirs.values())
    return Comparison(
        metric=metric,
        asked=len(other),
        n=n,
        own=(champion + sum(values)) / n,
        other=champion / n,
        discordance=(only_own + only_other) / n,
        design_effect=clustering.variance_factor,
        low=low,
        high=high,
    )


def compare_with_champion(
    own: Answers, other: Answers, policy: PromotionConfig, confidence: float
) -> Iterator[RuleOutcome]:
    """Yield the outcome of the rule `better`, and of one rule `no_worse` per metric with a margin.

    If the policy requires no improvement, the rule `better` is replaced by the rule `no_worse` for the same metric.
    """
    if policy.must_improve:
        yield _better(own, other, policy, confidence)
    for name, margin in policy.margins.items():
        if margin is not None and not (policy.must_improve and name == policy.metric):
            yield _no_worse(metrics()[name], margin, own, other, policy.power, confidence)


def _better(own: Answers, other: Answers, policy: PromotionConfig, confidence: float) -> RuleOutcome:
    """Return pass if the whole interval of the gain is above 0, and fail if the gain is too small to matter."""
    metric = metrics()[policy.metric]
    found = compare(metric, own, other, confidence)
    if found is None:
        return rule("better", "unknown", nothing_to_compare(metric))
    low, high = found.gain_interval
    margin = policy.margins.get(policy.metric) or 0.0
    outcome: Outcome = "pass" if low > 0 else "fail" if high <= margin else "unknown"
    equal = outcome == "fail" and low > -margin
    more = found.further_questions(found.gain, policy.power, confidence) if outcome == "unknown" else None
    text = f"{metric.title.lower()}: {found.text}{'; they are equally good' if equal else ''}"
    return rule("better", outcome, text, more, figures=found.figures(0.0, strict=True))


def _no_worse(
    metric: Metric, margin: float, own: Answers, other: Answers, power: float, confidence: float
) -> RuleOutcome:
    """Return pass if the whole interval of the loss is within the margin, and fail if it is above the margin."""
    found = compare(metric, own, other, confidence)
    if found is None:
        return rule(f"{NO_WORSE}{metric.name}", "unknown", nothing_to_compare(metric))
    low, high = (-end for end in reversed(found.gain_interval))
    outcome: Outcome = "pass" if high <= margin else "fail" if low > margin else "unknown"
    more = found.further_questions(margin + found.gain, power, confidence) if outcome == "unknown" else None
    allowed = margin if metric.better == "lower" else -margin
    bound = "at most" if metric.better == "lower" else "at least"
    text = f"{found.text}; {bound} {100 * allowed:+.1f} allowed"
    return rule(f"{NO_WORSE}{metric.name}", outcome, text, more, found.figures(margin))


def nothing_to_compare(metric: Metric) -> str:
    """Return why a metric cannot be judged, and what to do: no answer is in its population."""
    return (
        f"cannot judge {metric.name}: its population is empty ({metric.description.lower().rstrip('.')}); add such "
        "questions to the question file, or remove the metric from the policy"
    )
