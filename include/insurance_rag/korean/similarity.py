"""Compares sentences by their content words: synonyms, compounds, predicates and numbers, weighted by rarity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

from insurance_rag.korean.morphemes import MAX_LINE, Morpheme, morphemes
from insurance_rag.korean.quantities import quantities
from insurance_rag.korean.statements import CONTENT_TAGS, LIGHT_WORDS
from insurance_rag.korean.wording import canonical

Feature = str | tuple[float, str]
"""A word, or the value and unit of a quantity."""
Weights = Mapping[Feature, float]
UNSEEN_IDF = 1.0
"""Weight of a feature that no compared sentence contains."""

_SECOND_TAGS = frozenset(["NNG", "NNP", "XSN", "SL"])
_ROMAN = frozenset("ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ")
_COMPOUND_TAGS = frozenset(["NNG", "NNP", "XSN", "NR", "SN"])


@lru_cache(maxsize=50_000)
def features(line: str) -> tuple[tuple[int, Feature], ...]:
    """Return the features of a line with their positions.

    The features are content words (the name of the synonym group), pairs of adjoining nouns, numbers with the word that
    follows, and the parts of long compounds.

    >>> [feature for _, feature in features("부상 14급은 50만원")]
    ['부상', '14급', '급', (500000.0, '원')]
    """
    found: list[tuple[int, Feature]] = []
    tokens = morphemes(line[:MAX_LINE])
    for i, token in enumerate(tokens):
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        if token.tag in CONTENT_TAGS and token.form not in LIGHT_WORDS:
            found.append((token.start, canonical(token.form)))
            if len(token.form) > 2 and token.tag in ("NNG", "NNP"):
                found += [(token.start, token.form[k : k + 2]) for k in range(len(token.form) - 1)]
        if token.tag == "MM" and token.form == "첫":
            found.append((token.start, token.form))
        if following is not None and following.start == token.end and _joins(token, following):
            found.append((token.start, token.form + following.form))
    found += [(quantity.start, quantity.key) for quantity in quantities(line[:MAX_LINE])]
    return tuple(dict.fromkeys(found))


def _joins(token: Morpheme, following: Morpheme) -> bool:
    """Return whether two adjoining morphemes form a compound (진단보험금), or a number with its word (14급)."""
    if token.tag == "SN" and following.tag in ("NNG", "NNB"):
        return True
    return token.tag in _COMPOUND_TAGS and (following.tag in _SECOND_TAGS or following.form in _ROMAN)


def inverse_frequencies(lines: Iterable[Iterable[Feature]]) -> dict[Feature, float]:
    """Return log(1 + n / count) for each feature, where count is the number of the n lines that contain it."""
    counts: dict[Feature, int] = {}
    n = 0
    for line in lines:
        n += 1
        for feature in set(line):
            counts[feature] = counts.get(feature, 0) + 1
    return {feature: math.log(1 + n / count) for feature, count in counts.items()}


def norm(weights: Weights, idf: Mapping[Feature, float]) -> float:
    """Return the length of the weight vector."""
    return math.sqrt(sum(w * w * idf.get(feature, UNSEEN_IDF) for feature, w in weights.items()))


def overlap(a: Weights, b: Weights, idf: Mapping[Feature, float]) -> float:
    """Return the dot product of two weight vectors. Divided by both norms, it is the cosine similarity."""
    if len(b) < len(a):
        a, b = b, a
    return sum(w * b[feature] * idf.get(feature, UNSEEN_IDF) for feature, w in a.items() if feature in b)
