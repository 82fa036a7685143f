"""The statistics of a comparison: every rate with its interval, every difference paired by question.

Sources: Wilson 1927; McNemar's exact test; Holm 1979; Agresti and Min 2005 (interval of a paired difference); Connor
1987 (its sample size); Fleiss, Cohen and Everitt 1969 (standard error of kappa); Rogan and Gladen 1978.
Nothing here returns NaN: what is undefined is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

Interval = tuple[float, float]


def z(confidence: float) -> float:
    """The two-sided quantile: 1.96 for .95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(count: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Wilson's interval of a rate; None where there is nothing to count."""
    if n == 0:
        return None
    q, p = z(confidence), count / n
    centre = (p + q * q / (2 * n)) / (1 + q * q / n)
    half = q / (1 + q * q / n) * math.sqrt(p * (1 - p) / n + q * q / (4 * n * n))
    return (0.0 if count == 0 else centre - half, 1.0 if count == n else centre + half)


def rate(count: int, n: int, confidence: float = 0.95) -> dict[str, Any]:
    """A rate as the result files carry it, with Wilson's interval [low, high]; all three are None where n is 0."""
    low, high = wilson(count, n, confidence) or (None, None)
    value = count / n if n else None
    rounded = [None if x is None else round(x, 4) for x in (value, low, high)]
    return {"count": count, "n": n, "rate": rounded[0], "low": rounded[1], "high": rounded[2]}


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p that two models err equally often, from the questions on which they differ."""
    n = only_a + only_b
    tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment for several comparisons, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], draws: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval | None:
    """Percentile interval of mean(a) - mean(b), drawing whole questions; `a[i]` and `b[i]` belong to one question."""
    if len(a) != len(b):
        raise ValueError(f"paired values wanted, got {len(a)} and {len(b)}")
    if not a:
        return None
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    picks = np.random.default_rng(seed).integers(len(difference), size=(draws, len(difference)))
    low, high = np.quantile(difference[picks].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_interval(only_a: int, only_b: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Agresti and Min's interval of rate(b) - rate(a) on `n` paired questions; None where there is none.

    Unlike the bootstrap it stays honest when the models differ on no question, and gives the same decision every time.
    """
    if n == 0:
        return None
    b, c, m = only_a + 0.5, only_b + 0.5, n + 2
    half = z(confidence) * math.sqrt(b + c - (c - b) ** 2 / m) / m
    return (c - b) / m - half, (c - b) / m + half


def questions_needed(difference: float, discordance: float = 0.25, power: float = 0.8, alpha: float = 0.05) -> int:
    """Paired questions needed to see `difference` when the models disagree on a share `discordance` of them.

    A difference cannot exceed the disagreement it comes from, so a smaller discordance is raised to it.
    """
    d, psi = abs(difference), max(discordance, abs(difference))
    if d == 0:
        raise ValueError("no number of questions shows a difference of 0")
    spread = z(1 - alpha) * math.sqrt(psi) + NormalDist().inv_cdf(power) * math.sqrt(psi - d * d)
    return math.ceil(spread**2 / d**2)


def visible_difference(n: int, discordance: float = 0.25, power: float = 0.8) -> float | None:
    """The smallest difference that `n` paired questions show with this power; None where not even 1.0 is seen."""
    if n == 0 or questions_needed(1.0, discordance, power) > n:
        return None
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if questions_needed(middle, discordance, power) <= n else (middle, high)
    return high


def cohen_kappa(a: Sequence[Any], b: Sequence[Any], confidence: float = 0.95) -> dict[str, Any]:
    """Agreement of two raters beyond chance with its interval; kappa is None where chance alone agrees fully."""
    labels = sorted({*a, *b}, key=str)
    table = np.zeros((len(labels), len(labels)))
    for x, y in zip(a, b, strict=True):
        table[labels.index(x), labels.index(y)] += 1
    n = int(table.sum())
    nothing: dict[str, Any] = {"kappa": None, "interval": None, "n": n, "agreement": None}
    if n == 0:
        return nothing
    p = table / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    seen, chance = float(np.trace(p)), float(rows @ columns)
    if chance >= 1:
        return nothing | {"agreement": seen}
    kappa = (seen - chance) / (1 - chance)
    marginals = rows[None, :] + columns[:, None]  # [i, j]: column total i + row total j
    on = (np.diag(p) * (1 - (rows + columns) * (1 - kappa)) ** 2).sum()
    off = (1 - kappa) ** 2 * ((p * marginals**2).sum() - (np.diag(p) * np.diag(marginals) ** 2).sum())
    variance = (on + off - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    half = z(confidence) * math.sqrt(max(0.0, float(variance)))
    interval = [round(max(-1.0, kappa - half), 4), round(min(1.0, kappa + half), 4)]
    return {"kappa": round(kappa, 4), "interval": interval, "n": n, "agreement": round(seen, 4)}


def rogan_gladen(count: int, n: int, sensitivity: tuple[int, int], specificity: tuple[int, int]) -> dict[str, Any]:
    """A flagged rate corrected for the flagger's errors, which were counted (right, of) on human-labelled answers.

    None where the labels show the flagger to be no better than chance: then its rate says nothing.
    """
    (hit, positives), (passed, negatives) = sensitivity, specificity
    nothing = {"rate": None, "interval": None}
    if not (n and positives and negatives):
        return nothing
    p, se, sp = count / n, hit / positives, passed / negatives
    informedness = se + sp - 1
    if informedness <= 0:
        return nothing
    true = (p + sp - 1) / informedness
    # Delta method; a share of 0 or 1 gets the variance of one more success and failure: certainty is not feigned.
    variance = (
        _variance(count, n) + true**2 * _variance(hit, positives) + (1 - true) ** 2 * _variance(passed, negatives)
    )
    half = 1.96 * math.sqrt(variance) / informedness
    bounded = [round(min(1.0, max(0.0, x)), 4) for x in (true, true - half, true + half)]
    return {"rate": bounded[0], "interval": bounded[1:]}


def _variance(count: int, n: int) -> float:
    if count in (0, n):
        count, n = count + 1, n + 2
    return count / n * (1 - count / n) / n
