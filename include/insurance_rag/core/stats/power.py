"""How many questions a comparison needs."""

from __future__ import annotations

import math
from statistics import NormalDist

from insurance_rag.core.stats.clusters import z


def questions_needed(
    difference: float, discordance: float = 0.25, power: float = 0.8, alpha: float = 0.05, design_effect: float = 1.0
) -> int:
    """Return how many paired questions are needed to show `difference` with the given power (Connor 1987).

    `discordance` is the fraction of questions on which the models disagree. It cannot be smaller than the difference,
    so a smaller value is raised to the difference. With d = |difference| and s = discordance, the number is

        design_effect (q(1 - alpha / 2) sqrt(s) + q(power) sqrt(s - d^2))^2 / d^2

    where q is the quantile function of the standard normal distribution. The design effect stays the same only if the
    additional questions form new clusters of the same sizes. Raises ValueError if `difference` is 0.
    """
    d, psi = abs(difference), max(discordance, abs(difference))
    if d == 0:
        raise ValueError("no number of questions shows a difference of 0")
    spread = z(1 - alpha) * math.sqrt(psi) + NormalDist().inv_cdf(power) * math.sqrt(psi - d * d)
    return math.ceil(design_effect * spread**2 / d**2)


def visible_difference(
    n: int, discordance: float = 0.25, power: float = 0.8, design_effect: float = 1.0
) -> float | None:
    """Return the smallest difference that `n` paired questions can show with the given power.

    This is the inverse of `questions_needed`. Returns None if even a difference of 1 needs more than `n` questions.
    """

    def needed(difference: float) -> int:
        return questions_needed(difference, discordance, power, design_effect=design_effect)

    if n == 0 or needed(1.0) > n:
        return None
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if needed(middle) <= n else (middle, high)
    return high
