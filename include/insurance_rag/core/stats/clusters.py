"""Clusters: questions whose outcomes are correlated, e.g. questions on the same chunks.

The variance of a mean over clustered questions is larger than over as many independent ones. Their ratio is the design
effect (Kish 1965): n questions are as informative as n / design effect independent ones. The intervals in this package
are formulas for independent questions, applied to this effective number of questions, with a quantile of Student's t
distribution. Dean and Pagano (2015) compare such intervals.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist


def z(confidence: float) -> float:
    """Return the two-sided quantile of the standard normal distribution, e.g. 1.96 for a confidence level of 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


@lru_cache(maxsize=4096)
def t_quantile(confidence: float, degrees_of_freedom: float = math.inf) -> float:
    """Return the two-sided quantile of Student's t distribution, e.g. 2.26 for a level of 0.95 and 9 degrees."""
    if math.isinf(degrees_of_freedom):
        return z(confidence)
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, (1 + confidence) / 2))


@dataclass(frozen=True)
class Clustering:
    """How much less information a set of clustered questions has than as many independent ones."""

    clusters: int
    design_effect: float | None
    """Estimated design effect, at least 1. None if it cannot be estimated: all values are equal or in one cluster."""
    variance_factor: float = 1.0
    """The design effect that intervals use. If it cannot be estimated, it is 1 for equal values, and the number of
    questions if all of them are in one cluster."""
    degrees_of_freedom: float = math.inf
    """Degrees of freedom of the t quantile; infinite if no cluster has more than one question."""

    def quantile(self, confidence: float) -> float:
        """Return the two-sided quantile for intervals with this confidence level."""
        return t_quantile(confidence, self.degrees_of_freedom)


INDEPENDENT = Clustering(clusters=0, design_effect=None)
"""Questions that are not clustered. Formulas with this value are the classic ones."""


def estimate_clustering(values: Sequence[float], clusters: Sequence[Hashable]) -> Clustering:
    """Estimate the design effect of the mean of `values`. `clusters[i]` is the cluster of `values[i]`.

    With n values y in clusters c of m_c values each, and e_c the sum of y - mean(y) over cluster c, the variance of the
    mean is the sum of e_c^2 / (1 - m_c / n), divided by n^2 (the bias-reduced variance CR2 of Bell and McCaffrey 2002).
    The design effect is this variance divided by var(y) / n. Estimates below 1 are raised to 1, because they are
    usually chance. There are n^2 / sum(m_c^2) - 1 degrees of freedom, at least 1: the number of equally large clusters
    with the same information, minus one. Raises ValueError if the lengths differ.
    """
    n = len(values)
    if len(clusters) != n:
        raise ValueError(f"every value needs one cluster, got {n} values and {len(clusters)} clusters")
    sizes = Counter(clusters)
    if len(sizes) == n:
        return Clustering(clusters=n, design_effect=1.0 if n else None)
    if len(sizes) == 1:
        return Clustering(clusters=1, design_effect=None, variance_factor=float(n))
    degrees = max(1.0, n * n / sum(m * m for m in sizes.values()) - 1)
    mean = sum(values) / n
    residuals = dict.fromkeys(sizes, 0.0)
    squares = 0.0
    for value, cluster in zip(values, clusters, strict=True):
        residuals[cluster] += value - mean
        squares += (value - mean) ** 2
    if squares < 1e-12:
        return Clustering(clusters=len(sizes), design_effect=None, degrees_of_freedom=degrees)
    between = sum(e * e / (1 - sizes[cluster] / n) for cluster, e in residuals.items())
    effect = min(float(n), max(1.0, between / squares))
    return Clustering(len(sizes), effect, effect, degrees)


def rounded(value: float | None, digits: int = 4) -> float | None:
    """Return `value` rounded for a record, or None if it is undefined."""
    return None if value is None else round(value, digits)
