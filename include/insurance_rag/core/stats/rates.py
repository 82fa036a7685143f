"""Rates with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from insurance_rag.core.records.statistics import Interval, Rate
from insurance_rag.core.stats.clusters import INDEPENDENT, Clustering, estimate_clustering, rounded


def wilson(count: float, n: float, confidence: float = 0.95, clustering: Clustering = INDEPENDENT) -> Interval | None:
    """Return the Wilson score interval for the rate `count / n` (Wilson 1927), or None if `n` is 0.

    With p = count / n, N = n / design effect, and q the quantile of `clustering`, the ends of the interval are

        (p + q^2 / (2N) ± q sqrt(p (1 - p) / N + q^2 / (4N^2))) / (1 + q^2 / N)

    `count` and `n` need not be whole numbers: an effective number of questions can be given instead of `clustering`.
    """
    if n == 0:
        return None
    q, p, n_effective = clustering.quantile(confidence), count / n, n / clustering.variance_factor
    centre = (p + q * q / (2 * n_effective)) / (1 + q * q / n_effective)
    half = q / (1 + q * q / n_effective) * math.sqrt(p * (1 - p) / n_effective + q * q / (4 * n_effective**2))
    return (0.0 if count == 0 else centre - half, 1.0 if count == n else centre + half)


def rate(count: int, n: int, confidence: float = 0.95) -> Rate:
    """Return `count / n` with the interval for independent outcomes. Rate and interval are None if `n` is 0."""
    return _rate(count, n, wilson(count, n, confidence))


def clustered_rate(outcomes: Sequence[bool], clusters: Sequence[Hashable], confidence: float = 0.95) -> Rate:
    """Return the fraction of true `outcomes` with an interval that respects clusters, and with the design effect.

    `clusters[i]` is the cluster of `outcomes[i]`. Rate and interval are None if there are no outcomes. Raises
    ValueError if the lengths differ.
    """
    count, n = sum(outcomes), len(outcomes)
    clustering = estimate_clustering(outcomes, clusters)
    found = _rate(count, n, wilson(count, n, confidence, clustering))
    return found.model_copy(
        update={"clusters": clustering.clusters, "design_effect": rounded(clustering.design_effect)}
    )


def _rate(count: int, n: int, interval: Interval | None) -> Rate:
    low, high = interval or (None, None)
    return Rate(count=count, n=n, rate=rounded(count / n if n else None), low=rounded(low), high=rounded(high))
