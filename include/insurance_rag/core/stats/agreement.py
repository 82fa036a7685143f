"""Agreement between raters, and rates corrected for a rater's errors."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from insurance_rag.core.records.statistics import CorrectedRate, Kappa
from insurance_rag.core.stats.clusters import z

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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


def rogan_gladen(
    count: float, n: float, sensitivity: tuple[float, float], specificity: tuple[float, float]
) -> CorrectedRate:
    """Return the rate `count / n` of flagged answers, corrected for flagging errors (Rogan and Gladen 1978).

    `sensitivity` is a tuple (flagged, all) of counts over the answers that people labeled as faulty. `specificity` is a
    tuple (not flagged, all) of counts over the other labeled answers. Counts of effective answers need not be integers.

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


def _variance(count: float, n: float) -> float:
    """Return the variance of a rate. For a rate of 0 or 1, add one success and one failure to avoid a variance of 0."""
    if count in (0, n):
        count, n = count + 1, n + 2
    return count / n * (1 - count / n) / n
