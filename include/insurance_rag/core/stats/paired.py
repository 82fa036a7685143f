"""Paired comparisons of two models that answered the same questions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from insurance_rag.core.records.statistics import Interval, PairedDifference
from insurance_rag.core.stats.clusters import INDEPENDENT, Clustering, estimate_clustering, rounded
from insurance_rag.core.stats.power import questions_needed


def paired_difference(
    a: Mapping[str, bool], b: Mapping[str, bool], clusters: Mapping[str, str] | None = None, confidence: float = 0.95
) -> PairedDifference:
    """Compare the outcomes of two models on the questions that both answered.

    `a` and `b` map question ids to outcomes, and `clusters` maps question ids to clusters. Without `clusters`, all
    questions are independent. The difference is positive if the outcome is more frequent in `b`. The interval comes
    from `paired_interval`, the p value from `sign_flip_test`.
    """
    common = sorted(a.keys() & b.keys())
    differences = [b[q] - a[q] for q in common]
    names = [clusters[q] if clusters else q for q in common]
    clustering = estimate_clustering(differences, names)
    n, only_a, only_b = len(common), differences.count(-1), differences.count(1)
    difference = (only_b - only_a) / n if n else None
    low, high = paired_interval(only_a, only_b, n, confidence, clustering) or (None, None)
    discordance = (only_a + only_b) / n if n else 0.0
    return PairedDifference(
        n=n,
        only_a=only_a,
        only_b=only_b,
        difference=rounded(difference),
        low=rounded(low),
        high=rounded(high),
        clusters=clustering.clusters if clusters else None,
        design_effect=rounded(clustering.design_effect) if clusters else None,
        p=sign_flip_test(differences, names),
        questions_needed=questions_needed(difference, discordance, design_effect=clustering.variance_factor)
        if difference
        else None,
    )


def paired_interval(
    only_a: int, only_b: int, n: int, confidence: float = 0.95, clustering: Clustering = INDEPENDENT
) -> Interval | None:
    """Return the interval for rate(b) - rate(a) on `n` paired questions (Agresti and Min 2005), or None if `n` is 0.

    `only_a` and `only_b` are the numbers of questions on which only a, or only b, has the outcome. Get `clustering`
    from `estimate_clustering`, with the differences b - a of the single questions. It involves no random numbers, so
    decisions based on it can be reproduced.
    """
    if n == 0:
        return None
    centre, variance = smoothed_mean((only_b - only_a) / n, (only_a + only_b) / n, n / clustering.variance_factor)
    half = clustering.quantile(confidence) * math.sqrt(variance)
    return max(-1.0, centre - half), min(1.0, centre + half)


def smoothed_mean(mean: float, mean_square: float, n: float) -> tuple[float, float]:
    """Return the smoothed mean of `n` differences between -1 and 1, and its variance (Agresti and Min 2005).

    Two differences are added, one half each of -1 and 1 and one 0. The variance is therefore above 0 even if all
    differences are 0. `mean` and `mean_square` are the means of the differences and of their squares. `n` can be an
    effective number of differences.
    """
    centre = n * mean / (n + 2)
    return centre, ((n * mean_square + 1) / (n + 2) - centre**2) / (n + 2)


def sign_flip_test(differences: Sequence[int], clusters: Sequence[Hashable]) -> float:
    """Return the two-sided p value of the sign-flip test over clusters. The null hypothesis: two models err equally.

    Under the null hypothesis, the sum of the differences of a cluster is as likely to be positive as negative. The p
    value is the probability that random signs of the cluster sums give a total as far from 0 as the observed one. All
    combinations of signs are counted, so the p value involves no random numbers. If every cluster is one question, this
    is McNemar's exact test. Raises ValueError if the lengths differ.
    """
    import numpy as np

    sums: dict[Hashable, int] = {}
    for difference, cluster in zip(differences, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0) + difference
    distribution = np.ones(1)  # of (total + largest total) / 2, one entry per value
    for size, n in Counter(abs(total) for total in sums.values() if total).items():
        signs = np.zeros(size * n + 1)
        signs[::size] = [math.comb(n, k) / 2**n for k in range(n + 1)]
        distribution = np.convolve(distribution, signs)
    largest = len(distribution) - 1
    tail = (largest - abs(sum(sums.values()))) // 2
    return min(1.0, 2 * float(distribution[: tail + 1].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for multiple comparisons (Holm 1979), in the order of `p_values`.

    The i-th smallest of m values is multiplied by m - i + 1 and capped at 1. A result that is smaller than the result
    for a smaller p value is raised to that result.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = highest
    return adjusted
