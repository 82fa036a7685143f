"""Comparison of the perplexities of two models on the same windows of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from insurance_rag.core.records.general_text import PerplexityRatio
from insurance_rag.core.stats.clusters import t_quantile


def perplexity(losses: Sequence[float], tokens: Sequence[int]) -> float:
    """Return the perplexity per token. `losses` are sums over the tokens of each window, in nats."""
    return math.exp(sum(losses) / sum(tokens))


def perplexity_ratio(
    losses: Sequence[float], base_losses: Sequence[float], tokens: Sequence[int], confidence: float = 0.95
) -> PerplexityRatio:
    """Return the perplexity of a model divided by that of the base model, with its confidence interval over windows.

    The logarithm of the ratio is a ratio estimator: the sum over windows of loss - base loss, divided by the number of
    tokens. Its variance is that of the windows' residuals (Cochran 1977, section 6.4), and the quantile is Student's t
    with one degree of freedom less than windows. The bootstrap over windows gives the same interval, but needs random
    numbers. Raises ValueError if the lengths differ.
    """
    differences = [own - base for own, base in zip(losses, base_losses, strict=True)]
    n, total = len(differences), sum(tokens)
    log_ratio = sum(differences) / total
    if n < 2:
        return PerplexityRatio(ratio=round(math.exp(log_ratio), 4), low=None, high=None)
    squares = sum((d - log_ratio * size) ** 2 for d, size in zip(differences, tokens, strict=True))
    half = t_quantile(confidence, n - 1) * math.sqrt(n / (n - 1) * squares) / total
    ratio, low, high = (round(math.exp(x), 4) for x in (log_ratio, log_ratio - half, log_ratio + half))
    return PerplexityRatio(ratio=ratio, low=low, high=high)
