"""Chooses what is wrong with a made answer, so that the kinds of faults have the configured shares.

Few answers can have some faults: only an answer with a limit can have its limit flipped. Such a kind must therefore be
preferred where it is possible. The choice for a row depends only on the row, not on the other rows or their order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

ITERATIONS = 40
MAX_WEIGHT = 1e6
"""Limits the weight of a kind that is too rare for its share."""


def balanced_weights(possible: Sequence[frozenset[str]], shares: Mapping[str, float]) -> dict[str, float]:
    """Return a weight per kind, such that choices with these weights have the given shares as far as possible.

    `possible` are the kinds of faults that each row of a sample can have. The weights are fitted by iterative scaling
    (Deming and Stephan 1940): a kind that is expected too rarely gets a larger weight.
    """
    total = sum(shares.values())
    weights = {kind: share / total for kind, share in shares.items() if share > 0}
    targets = {kind: weight * len(possible) for kind, weight in weights.items()}
    for _ in range(ITERATIONS):
        expected = dict.fromkeys(weights, 0.0)
        for kinds in possible:
            usable = [kind for kind in weights if kind in kinds]
            whole = sum(weights[kind] for kind in usable)
            for kind in usable:
                expected[kind] += weights[kind] / whole
        for kind, n in expected.items():
            if n > 0:
                weights[kind] = min(MAX_WEIGHT, weights[kind] * targets[kind] / n)
    return weights


def weighted_order(weights: Mapping[str, float], rng: Random) -> list[str]:
    """Return the kinds in random order, where a kind with a larger weight tends to come earlier.

    The first kinds that are possible are a weighted sample without replacement (Efraimidis and Spirakis 2006).
    """
    keys = {kind: -math.log(1 - rng.random()) / weight for kind, weight in sorted(weights.items())}
    return sorted(keys, key=lambda kind: (keys[kind], kind))
