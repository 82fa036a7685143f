"""Replaced terms: an answer that copies the reference, except for a noun, states another fact."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.content import without_articles
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.korean import sentences
from insurance_rag.korean.morphemes import Morpheme, morphemes

MIN_SIMILARITY = 0.8
"""A sentence with at least this similarity (difflib's ratio of content morphemes) is a copy of the reference."""
_CONTENT = frozenset(["NNG", "NNP", "NR", "SL", "VV", "VA", "XR", "MAG", "MM", "NNB", "XPN", "NP"])
_NOUNS = frozenset(["NNG", "NNP", "SL", "XR"])


def find_replaced_terms(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if a sentence copies the reference but has another noun in one place."""
    right = _content(expected.reference or "")
    known = f"{expected.reference} {expected.question}"
    for sentence in sentences(answer):
        said = _content(sentence.text)
        matcher = SequenceMatcher(None, [m.form for m in right], [m.form for m in said], autojunk=False)
        if matcher.ratio() < MIN_SIMILARITY:
            continue
        for operation, i1, i2, j1, j2 in matcher.get_opcodes():
            old, new = _nouns(right[i1:i2]), _nouns(said[j1:j2])
            lost = [noun for noun in old if noun not in answer]
            if operation == "replace" and lost and any(noun not in known for noun in new):
                yield CorrectnessProblem(kind="content", text=f"{' '.join(new)} ≠ {' '.join(old)}")
                return


def _content(text: str) -> list[Morpheme]:
    return [m for line in without_articles(text).split("\n") for m in morphemes(line) if m.tag in _CONTENT]


def _nouns(tokens: list[Morpheme]) -> list[str]:
    return [m.form for m in tokens if m.tag in _NOUNS and len(m.form) > 1]
