"""Random choices that depend only on the content of a row, so that they do not change with order or shards."""

from __future__ import annotations

from enum import IntEnum


class Draw(IntEnum):
    """What a random number is used for. Each use gets independent numbers. The values are part of every result."""

    DISTRACTORS = 1
    REFUSAL = 2
    CAP = 3


def hash_uniform(digest: int, seed: int, draw: Draw) -> float:
    """Return a uniform number in [0, 1) for a row with this 64-bit content hash."""
    mixed = (digest ^ (seed * 0x9E3779B97F4A7C15) ^ (int(draw) << 40)) * 0xD6E8FEB86659FD93 % 2**64
    return ((mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93 % 2**64) / 2**64
