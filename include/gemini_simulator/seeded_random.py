"""Random draws that depend only on their inputs, so that results do not depend on the order of the requests."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Name = TypeVar("Name", bound=str)


def hash_uniform(*parts: object) -> float:
    """Return a number in [0, 1) that depends only on `parts`.

    >>> hash_uniform(0, "latency") == hash_uniform(0, "latency")
    True
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def seeded_rng(*parts: object) -> random.Random:
    """Return a random number generator whose seed depends only on `parts`."""
    return random.Random(hash_uniform(*parts))


def choose_by_rate(rates: Mapping[Name, float], *parts: object) -> Name | None:
    """Choose a name with the probability in `rates`, or None with the remaining probability."""
    point = hash_uniform(*parts)
    for name, rate in rates.items():
        if point < rate:
            return name
        point -= rate
    return None


@dataclass(frozen=True)
class Attempt:
    """One attempt at a request. Each attempt gets new random draws, so that retries can succeed."""

    seed: int
    request_sha256: str
    number: int
    """Number of the attempt, counted from 1."""

    def uniform(self, purpose: str, *parts: object) -> float:
        """Return a number in [0, 1) that depends only on the attempt, the purpose and `parts`."""
        return hash_uniform(self.seed, purpose, self.request_sha256, self.number, *parts)

    def rng(self, purpose: str, *parts: object) -> random.Random:
        """Return a random number generator whose seed depends only on the attempt, the purpose and `parts`."""
        return random.Random(self.uniform(purpose, *parts))
