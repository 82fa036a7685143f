"""Derives random numbers from the content of a row, so that they do not depend on row order or shards."""

from __future__ import annotations

from enum import IntEnum


class Draw(IntEnum):
    """Purpose of a random number. Each purpose has independent numbers. Changing a value here changes every dataset."""

    DISTRACTORS = 1
    REFUSAL = 2
    CAP = 3
    SAMPLE = 4
    PREFERENCE = 5


def hash_uniform(digest: int, seed: int, draw: Draw) -> float:
    """Return a uniform random number in [0, 1) for the row with the 64-bit content hash `digest`."""
    mixed = (digest ^ (seed * 0x9E3779B97F4A7C15) ^ (int(draw) << 40)) * 0xD6E8FEB86659FD93 % 2**64
    return ((mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93 % 2**64) / 2**64
