"""Comparison of two recipes, each with several adapters that were trained with different seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, pvariance, stdev, variance

from insurance_rag.core.records.statistics import Interval, RecipeDifference, SeedSpread
from insurance_rag.core.stats.clusters import Clustering, estimate_clustering, rounded, t_quantile
from insurance_rag.core.stats.paired import smoothed_mean
from insurance_rag.core.stats.rates import wilson

Outcomes = Mapping[str, bool]
"""Maps question ids to one adapter's outcomes."""


def seed_spread(rates: Sequence[float]) -> SeedSpread:
    """Return mean, range and standard deviation of the rates of a recipe's adapters, rounded to four digits.

    Raises ValueError if there are no rates.
    """
    if not rates:
        raise ValueError("a recipe needs at least one adapter")
    return SeedSpread(
        seeds=len(rates),
        mean=round(fmean(rates), 4),
        min=round(min(rates), 4),
        max=round(max(rates), 4),
        sd=round(stdev(rates), 4) if len(rates) > 1 else None,
    )


def recipe_interval(
    adapters: Sequence[Outcomes], clusters: Mapping[str, str], confidence: float = 0.95
) -> Interval | None:
    """Return the interval for the mean rate of a recipe's adapters on the questions that all of them answered.

    The variance V of the mean rate p is the sum of two parts, as in `compare_recipes`. The result is the Wilson
    interval for p with an effective number of p (1 - p) / V questions (Korn and Graubard 1998) and a t quantile with
    Satterthwaite's degrees of freedom. Returns None without a common question. Raises ValueError without an adapter.
    """
    common = _common_questions(adapters)
    if not common:
        return None
    means = [fmean(outcomes[q] for outcomes in adapters) for q in common]
    clustering = estimate_clustering(means, [clusters[q] for q in common])
    n, p = len(common), fmean(means)
    parts = [(clustering.variance_factor * pvariance(means) / n, clustering.degrees_of_freedom)]
    parts += _seed_variance([fmean(outcomes[q] for q in common) for outcomes in adapters])
    total = sum(part for part, _ in parts)
    effective = n / clustering.variance_factor if total < 1e-12 else max(1.0, p * (1 - p) / total)
    degrees = clustering.degrees_of_freedom if total < 1e-12 else _satterthwaite(parts)
    return wilson(p * effective, effective, confidence, Clustering(clustering.clusters, None, 1.0, degrees))


def compare_recipes(
    a: Sequence[Outcomes], b: Sequence[Outcomes], clusters: Mapping[str, str], confidence: float = 0.95
) -> RecipeDifference:
    """Compare the mean rates of two recipes on the questions that all their adapters answered.

    `a` and `b` have the outcomes of one adapter per seed, and `clusters` maps question ids to clusters. The variance
    of the difference is the sum of two parts. The first is the variance over clusters of the questions' differences
    b - a, each averaged over the seeds. The second is s_a^2 / S_a + s_b^2 / S_b, where s^2 is the variance of the S
    rates of a recipe's adapters. This is two-way clustering (Cameron, Gelbach and Miller 2011) without the subtracted
    interaction term, so the interval is at least as wide (Davezies, D'Haultfoeuille and Guyonvarch 2021). The degrees
    of freedom follow Satterthwaite (1946). The seeds of `a` and `b` are independent of each other.

    With one adapter per recipe, this is the interval of `paired_interval`. A recipe with one adapter contributes no
    variance over seeds: the result then holds for this adapter, not for its recipe. Raises ValueError if a recipe has
    no adapter.
    """
    common = sorted(set(_common_questions(a)) & set(_common_questions(b)))
    if not common:
        return _undefined()
    rates_a, rates_b = ([fmean(outcomes[q] for q in common) for outcomes in recipe] for recipe in (a, b))
    differences = [fmean(outcomes[q] for outcomes in b) - fmean(outcomes[q] for outcomes in a) for q in common]
    clustering = estimate_clustering(differences, [clusters[q] for q in common])
    n = len(common)
    centre, questions = smoothed_mean(
        fmean(differences), fmean(d * d for d in differences), n / clustering.variance_factor
    )
    seeds = [*_seed_variance(rates_a), *_seed_variance(rates_b)]
    seed_variance = sum(part for part, _ in seeds)
    total = questions + seed_variance
    degrees = _satterthwaite([(questions, clustering.degrees_of_freedom), *seeds])
    half = t_quantile(confidence, degrees) * math.sqrt(total)
    return RecipeDifference(
        n=n,
        clusters=clustering.clusters,
        a=seed_spread(rates_a),
        b=seed_spread(rates_b),
        difference=round(fmean(differences), 4),
        low=round(max(-1.0, centre - half), 4),
        high=round(min(1.0, centre + half), 4),
        p=_p_value(centre / math.sqrt(total), degrees),
        question_variance=questions,
        seed_variance=seed_variance,
        degrees_of_freedom=None if math.isinf(degrees) else rounded(degrees, 1),
    )


def _common_questions(adapters: Sequence[Outcomes]) -> list[str]:
    """Return the questions that all adapters answered. Raises ValueError if there are no adapters."""
    if not adapters:
        raise ValueError("a recipe needs at least one adapter")
    return sorted(set.intersection(*(set(outcomes) for outcomes in adapters)))


def _seed_variance(rates: Sequence[float]) -> list[tuple[float, float]]:
    """Return the variance of the mean rate over seeds with its degrees of freedom; nothing if there is one seed."""
    return [(variance(rates) / len(rates), len(rates) - 1.0)] if len(rates) > 1 else []


def _satterthwaite(parts: Sequence[tuple[float, float]]) -> float:
    """Return the degrees of freedom of a sum of variances. Each part is (variance, its degrees of freedom)."""
    uncertainty = sum(part**2 / degrees for part, degrees in parts)
    return sum(part for part, _ in parts) ** 2 / uncertainty if uncertainty else math.inf


def _p_value(t: float, degrees: float) -> float:
    """Return the two-sided p value of a t statistic."""
    from scipy.special import ndtr, stdtr

    tail = ndtr(-abs(t)) if math.isinf(degrees) else stdtr(degrees, -abs(t))
    return float(min(1.0, 2 * tail))


def _undefined() -> RecipeDifference:
    return RecipeDifference(
        n=0,
        clusters=0,
        a=None,
        b=None,
        difference=None,
        low=None,
        high=None,
        p=None,
        question_variance=None,
        seed_variance=None,
        degrees_of_freedom=None,
    )
