"""Computes character n-grams, MinHash signatures and the exact similarity of texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS, BANDS = 80, 16
"""Number of MinHash permutations, and number of bands into which they are divided. Each band has five permutations.
Of 500 pairs with a similarity of 0.8, about one shares no band and is missed."""
SEED = 42

_IGNORED = re.compile(r"[\W_]+")
_MIX = np.uint64(0x9E3779B97F4A7C15)


def normalize(text: str) -> str:
    """Return only the letters and digits of the text, in lower case."""
    return _IGNORED.sub("", text).lower()


def shingles(text: str, n: int) -> set[str]:
    """Return the n-grams of the normalized text, or the whole normalized text if it is shorter than `n`."""
    text = normalize(text)
    return {text[i : i + n] for i in range(max(1, len(text) - n + 1))}


def jaccard(a: set[str], b: set[str]) -> float:
    """Return the Jaccard similarity of two sets; 1 if both are empty."""
    return len(a & b) / len(a | b) if a or b else 1.0


def hashed_shingles(texts: Sequence[str], n: int) -> tuple[NDArray[np.uint64], list[int]]:
    """Return one array with the 64-bit hashes of the n-grams of all texts, text by text, and a list of offsets.

    The list contains the position of each text's first hash and, at the end, the total number of hashes.
    """
    padded = [normalize(text).ljust(n, "\0") for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    hashes = np.zeros(max(0, len(codes) - n + 1), dtype=np.uint64)
    for i in range(n):
        hashes = (hashes ^ codes[i : i + len(hashes)]) * _MIX
        hashes ^= hashes >> np.uint64(29)
    ends = np.cumsum([len(text) for text in padded])
    inside = np.ones(len(hashes), dtype=bool)
    for k in range(1, n):  # exclude n-grams that extend into the next text
        inside[(ends[:-1] - k)[ends[:-1] - k >= 0]] = False
    offsets = [0, *np.cumsum([len(text) - n + 1 for text in padded]).tolist()]
    return hashes[inside], offsets


def signatures(texts: Sequence[str], n: int = 3) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return the MinHash bands and the sketches of the texts.

    The bands have shape (texts, BANDS). Two texts that have a band in common are candidates for near duplicates. The
    sketches have shape (texts, PERMUTATIONS). The fraction of equal bytes in two sketches estimates the Jaccard
    similarity of the texts.
    """
    from rensa import RMinHash

    if not texts:
        return np.empty((0, BANDS), np.uint64), np.empty((0, PERMUTATIONS), np.uint8)
    flat, offsets = hashed_shingles(texts, n)
    rows = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, PERMUTATIONS, SEED).to_rows()
    matrix = np.array(rows, dtype=np.uint64)
    bands = np.zeros((len(texts), BANDS), dtype=np.uint64)
    for column in np.moveaxis(matrix.reshape(len(texts), BANDS, -1), 2, 0):
        bands = (bands ^ column) * _MIX
        bands ^= bands >> np.uint64(31)
    return bands, (matrix & np.uint64(0xFF)).astype(np.uint8)
