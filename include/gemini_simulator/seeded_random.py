"""Chance that is a function of what is asked, so that a run repeats whatever the order of its requests."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping


def uniform(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def rng(*parts: object) -> random.Random:
    return random.Random(uniform(*parts))


def draw(rates: Mapping[str, float], *parts: object) -> str | None:
    """One of the names with its rate as probability, or None with what is left of 1."""
    point = uniform(*parts)
    for name, rate in rates.items():
        if point < rate:
            return name
        point -= rate
    return None
