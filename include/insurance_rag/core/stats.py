"""Statistics for comparing models: confidence intervals, paired tests, sample sizes and rater agreement.

Rates, p values and confidence levels are between 0 and 1, and differences between -1 and 1. An undefined result is
None, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

from insurance_rag.core.records.evaluation import CorrectedRate, Interval, Kappa, Rate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def z(confidence: float) -> float:
    """Return the two-sided quantile of the standard normal distribution, e.g. 1.96 for a confidence level of 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(count: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Return the Wilson score interval for the rate `count / n` (Wilson 1927), or None if `n` is 0.

    With p = count / n and q = z(confidence), the ends of the interval are

        (p + q^2 / (2n) ± q sqrt(p (1 - p) / n + q^2 / (4n^2))) / (1 + q^2 / n)
    """
    if n == 0:
        return None
    q, p = z(confidence), count / n
    centre = (p + q * q / (2 * n)) / (1 + q * q / n)
    half = q / (1 + q * q / n) * math.sqrt(p * (1 - p) / n + q * q / (4 * n * n))
    return (0.0 if count == 0 else centre - half, 1.0 if count == n else centre + half)


def rate(count: int, n: int, confidence: float = 0.95) -> Rate:
    """Return `count / n` with its Wilson interval, rounded to four digits. Rate and interval are None if `n` is 0."""
    low, high = wilson(count, n, confidence) or (None, None)
    value = count / n if n else None
    return Rate(count=count, n=n, rate=_rounded(value), low=_rounded(low), high=_rounded(high))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Return the two-sided p value of McNemar's exact test. The null hypothesis: two models err equally often.

    `only_a` is the number of questions on which only model a errs. `only_b` is the same for model b. The p value is

        min(1, 2 P(X <= min(only_a, only_b)))

    where X is binomial with only_a + only_b trials and probability 1/2.
    """
    n = only_a + only_b
    tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**n)


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


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], bootstrap_samples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval | None:
    """Return the percentile bootstrap interval for mean(a) - mean(b), or None if there are no values.

    `a[i]` and `b[i]` belong to the same question and are always resampled together. Raises ValueError if the lengths
    differ.
    """
    import numpy as np

    if len(a) != len(b):
        raise ValueError(f"paired values must have equal lengths, got {len(a)} and {len(b)}")
    if not a:
        return None
    difference = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    picks = np.random.default_rng(seed).integers(len(difference), size=(bootstrap_samples, len(difference)))
    low, high = np.quantile(difference[picks].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_interval(only_a: int, only_b: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Return the interval for rate(b) - rate(a) on `n` paired questions (Agresti and Min 2005), or None if `n` is 0.

    `only_a` and `only_b` are the numbers of questions on which only a, or only b, has the outcome. Before the Wald
    interval is computed, 1/2 is added to each of them and 2 is added to `n`. Unlike the bootstrap interval, this
    interval has a nonzero width even if the models agree on every question. It involves no random numbers, so decisions
    based on it can be reproduced.
    """
    if n == 0:
        return None
    b, c, m = only_a + 0.5, only_b + 0.5, n + 2
    half = z(confidence) * math.sqrt(b + c - (c - b) ** 2 / m) / m
    return (c - b) / m - half, (c - b) / m + half


def questions_needed(difference: float, discordance: float = 0.25, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many paired questions are needed to show `difference` with the given power (Connor 1987).

    `discordance` is the fraction of questions on which the models disagree. It cannot be smaller than the difference,
    so a smaller value is raised to the difference. With d = |difference| and s = discordance, the number is

        (q(1 - alpha / 2) sqrt(s) + q(power) sqrt(s - d^2))^2 / d^2

    where q is the quantile function of the standard normal distribution. Raises ValueError if `difference` is 0.
    """
    d, psi = abs(difference), max(discordance, abs(difference))
    if d == 0:
        raise ValueError("no number of questions shows a difference of 0")
    spread = z(1 - alpha) * math.sqrt(psi) + NormalDist().inv_cdf(power) * math.sqrt(psi - d * d)
    return math.ceil(spread**2 / d**2)


def visible_difference(n: int, discordance: float = 0.25, power: float = 0.8) -> float | None:
    """Return the smallest difference that `n` paired questions can show with the given power.

    This is the inverse of `questions_needed`. Returns None if even a difference of 1 needs more than `n` questions.
    """
    if n == 0 or questions_needed(1.0, discordance, power) > n:
        return None
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if questions_needed(middle, discordance, power) <= n else (middle, high)
    return high


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable], confidence: float = 0.95) -> Kappa:
    """Return Cohen's kappa with its interval. Kappa measures the agreement between two raters beyond chance.

    `a[i]` and `b[i]` are the labels that the two raters gave to item i. Kappa is (observed - chance) / (1 - chance):
    `observed` is the fraction of items with equal labels, and `chance` is the fraction expected by chance. The standard
    error is from Fleiss, Cohen and Everitt (1969). Kappa is None if there are no items, or if `chance` is 1.
    """
    import numpy as np

    table = _contingency_table(a, b)
    n = int(table.sum())
    if n == 0:
        return Kappa(kappa=None, interval=None, n=0, agreement=None)
    p = table / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, chance = float(np.trace(p)), float(rows @ columns)
    if chance >= 1:
        return Kappa(kappa=None, interval=None, n=n, agreement=observed)
    kappa = (observed - chance) / (1 - chance)
    marginals = rows[None, :] + columns[:, None]  # [i, j]: column total i + row total j
    on = (np.diag(p) * (1 - (rows + columns) * (1 - kappa)) ** 2).sum()
    off = (1 - kappa) ** 2 * ((p * marginals**2).sum() - (np.diag(p) * np.diag(marginals) ** 2).sum())
    variance = (on + off - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    half = z(confidence) * math.sqrt(max(0.0, float(variance)))
    interval = round(max(-1.0, kappa - half), 4), round(min(1.0, kappa + half), 4)
    return Kappa(kappa=round(kappa, 4), interval=interval, n=n, agreement=round(observed, 4))


def _contingency_table(a: Sequence[Hashable], b: Sequence[Hashable]) -> npt.NDArray[np.float64]:
    """Return a table with the number of items for each pair of labels.

    Rows are the labels in `a` and columns the labels in `b`, both in alphabetical order of all labels.
    """
    import numpy as np

    labels = sorted({*a, *b}, key=str)
    table = np.zeros((len(labels), len(labels)))
    for x, y in zip(a, b, strict=True):
        table[labels.index(x), labels.index(y)] += 1
    return table


def rogan_gladen(count: int, n: int, sensitivity: tuple[int, int], specificity: tuple[int, int]) -> CorrectedRate:
    """Return the rate `count / n` of flagged answers, corrected for flagging errors (Rogan and Gladen 1978).

    `sensitivity` is a tuple (flagged, all) of counts over the answers that people labeled as faulty. `specificity` is a
    tuple (not flagged, all) of counts over the other labeled answers.

    With the observed rate p, sensitivity se and specificity sp, the corrected rate is (p + sp - 1) / (se + sp - 1). The
    95 % interval uses the delta method. Rate and interval are clipped to [0, 1]. Both are None if `n` or one of the
    totals is 0, or if flagging is no better than chance (se + sp <= 1).
    """
    (hit, positives), (passed, negatives) = sensitivity, specificity
    undefined = CorrectedRate(rate=None, interval=None)
    if not (n and positives and negatives):
        return undefined
    p, se, sp = count / n, hit / positives, passed / negatives
    informedness = se + sp - 1
    if informedness <= 0:
        return undefined
    true = (p + sp - 1) / informedness
    variance = (
        _variance(count, n) + true**2 * _variance(hit, positives) + (1 - true) ** 2 * _variance(passed, negatives)
    )
    half = 1.96 * math.sqrt(variance) / informedness
    value, low, high = (round(min(1.0, max(0.0, x)), 4) for x in (true, true - half, true + half))
    return CorrectedRate(rate=value, interval=(low, high))


def _variance(count: int, n: int) -> float:
    """Return the variance of a rate. For a rate of 0 or 1, add one success and one failure to avoid a variance of 0."""
    if count in (0, n):
        count, n = count + 1, n + 2
    return count / n * (1 - count / n) / n
