"""The statements of the context, and a search for the statement that a sentence of the answer is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from insurance_rag.korean.morphemes import morphemes
from insurance_rag.korean.similarity import Feature, Weights, features, inverse_frequencies, norm, overlap
from insurance_rag.korean.statements import LIGHT_WORDS, Statement, analyze
from insurance_rag.korean.wording import Meaning, canonical, meaning

INHERITED_WEIGHT = 0.5
"""Weight of words of the article's title, the lead sentence and the column headings, relative to a statement's own."""
MAX_PASSAGES = 3000
"""Further statements of a context are not compared. Contexts of a few chunks have less than 300."""
QUESTION_WEIGHT = 0.3
"""Weight of words of the question that the compared sentence of the answer does not repeat."""

# Predicates that say nothing without the noun before them: 가입이 가능하다, 가입이 안 되다, 감액 대상이 아니다.
# Predicates that repeat what the predicate before them says: 지급하는 것을 목적으로 한다.
_PURPOSES = frozenset(["목적", "원칙", "것", "기준"])
_EMPTY_LEMMAS = frozenset(["가능", "되", "대상", "있", "하", "수", "사유"])


@dataclass(frozen=True)
class Passage:
    """A statement of the context, prepared for comparison."""

    statement: Statement
    chunk: int
    """Number of the chunk that contains the statement, from 0."""
    meaning: Meaning | None
    """Meaning of the main predicate."""
    meanings: frozenset[Meaning]
    """Meanings of all predicates that the statement asserts."""
    weights: Weights
    length: float
    """Norm of the weights."""


@dataclass(frozen=True)
class Match:
    """A passage and its cosine similarity to a sentence of the answer."""

    score: float
    passage: Passage


@dataclass(frozen=True)
class Passages:
    """All passages of a context, with the inverse frequencies of their features."""

    all: tuple[Passage, ...]
    idf: Mapping[Feature, float]

    def matches(self, weights: Weights) -> list[Match]:
        """Return all passages that share a feature with the weights, the most similar one first."""
        length = norm(weights, self.idf)
        found = [
            Match(common / (length * passage.length), passage)
            for passage in self.all
            if (common := overlap(weights, passage.weights, self.idf))
        ]
        return sorted(found, key=lambda match: -match.score)


@lru_cache(maxsize=1024)
def passages_of(chunks: tuple[str, ...]) -> Passages:
    """Return the passages of the chunks. Results are cached, because several answers have the same context."""
    found = [
        (statement, number, _with_inherited(statement))
        for number, chunk in enumerate(chunks)
        for statement in analyze(chunk)
    ][:MAX_PASSAGES]
    idf = inverse_frequencies(weights for _, _, weights in found)
    passages = tuple(
        Passage(
            statement, number, statement_meaning(statement), _meanings(statement), weights, norm(weights, idf) or 1.0
        )
        for statement, number, weights in found
    )
    return Passages(passages, idf)


def _with_inherited(statement: Statement) -> dict[Feature, float]:
    weights: dict[Feature, float] = {canonical(word): INHERITED_WEIGHT for word in statement.inherited}
    for _, feature in features(statement.text):
        weights[feature] = 1.0
    return weights


def claim_weights(text: str, question: str) -> dict[Feature, float]:
    """Return the weights of a sentence of the answer, completed by the words of the question."""
    weights: dict[Feature, float] = {feature: QUESTION_WEIGHT for _, feature in features(question)}
    weights.update((feature, 1.0) for _, feature in features(text))
    return weights


def statement_meaning(statement: Statement) -> Meaning | None:
    """Return the meaning of the statement's main predicate, or None if it has none."""
    predicate = statement.predicate
    if predicate is None:
        return None
    if predicate.lemma in _EMPTY_LEMMAS and predicate is not statement.lead:
        noun = _noun_before(statement)
        return None if noun is None else meaning(predicate._replace(lemma=noun))
    return meaning(predicate)


def _meanings(statement: Statement) -> frozenset[Meaning]:
    main = statement_meaning(statement)
    others = {meaning(p) for p in statement.predicates if p.ending == "final" or p.connective in ("되", "고", "며")}
    if main is not None and main.concept in _PURPOSES and len(statement.predicates) > 1:
        others.add(meaning(statement.predicates[-2]))
    return frozenset(others | ({main} if main is not None else set()))


def _noun_before(statement: Statement) -> str | None:
    nouns = [token.form for token in morphemes(statement.text) if token.tag == "NNG"]
    return next((noun for noun in reversed(nouns) if noun not in _EMPTY_LEMMAS | LIGHT_WORDS), None)


def coverage(weights: Weights, other: Weights, idf: Mapping[Feature, float]) -> float:
    """Return the fraction of the features, weighted by rarity, that `other` contains too."""
    total = sum(w * idf.get(feature, 1.0) for feature, w in weights.items())
    shared = sum(w * idf.get(feature, 1.0) for feature, w in weights.items() if feature in other)
    return shared / total if total else 0.0
