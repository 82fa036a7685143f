"""Check for numbers that the context states about something else: another row, another case, another sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from insurance_rag import korean
from insurance_rag.evaluation.checks.passages import Passage, Passages, passages_of
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check
from insurance_rag.korean.bounds import LOWER, UPPER, Bound, bounded_quantities
from insurance_rag.korean.calculations import is_each, is_example, is_product
from insurance_rag.korean.quantities import Quantity
from insurance_rag.korean.similarity import Feature, Weights, features
from insurance_rag.korean.statements import Statement
from insurance_rag.korean.wording import canonical

MIN_SCORE = 0.1
"""The other number must fit at least this well. The score is the overlap with its words, per word of the answer."""
MAX_OWN = 0.55
"""Maximum fit of the stated number, relative to the fit of the other number."""
PHRASE, CLAUSE, INHERITED, QUESTION = 1.0, 0.5, 0.8, 0.7
"""Weights of words in the number's phrase, in the rest of its clause, in titles and headings, and in the question."""
MIN_LABEL = 0.6
"""Minimum fraction of a row's label, weighted by rarity, that the question and the answer must contain."""
REVERSED = 0.8
"""Factor for a number that has the opposite bound."""
UNSEEN = 0.2
"""Rarity of a word of the answer that no passage contains."""

_BREAK = re.compile(r",\s|\n|\s\|\s")
# Units that are compared with each other: a period may be stated in days instead of months.
_FAMILIES = {"일": "time", "영업일": "time", "개월": "time", "시간": "time", "일째": "time"}
Key = tuple[float, str]


@dataclass(frozen=True)
class Slot:
    """A number in the context and the words that belong to it."""

    key: Key
    bound: Bound
    passage: Passage
    weights: Weights
    length: float


@check(
    "misattributed",
    title="Number of something else",
    title_ko="다른 항목의 숫자",
    description="A number is in the context, but another number there fits the question and the sentence better.",
    order=78,
)
def find_misattributed_quantities(answer: CheckedAnswer) -> Iterator[str]:
    """Yield every number that the context states about something else, if another number there fits much better."""
    yield from _of_other_products(answer)
    slots = _slots(answer.chunks)
    known = {slot.key for slot in slots}
    asked = korean.known_quantities(answer.question)
    stated = {quantity.key for quantity in korean.quantities(answer.text)}
    for statement in answer.statements:
        for quantity, bound in bounded_quantities(statement.text):
            if quantity.key not in known or quantity.key in asked or quantity.unit == "번째":
                continue
            if is_product(quantity.key, asked, known | stated) or _is_example(answer, statement, quantity):
                continue
            if is_each(statement.text, quantity):
                continue
            excluded = stated | asked
            by_words = _is_misattributed(quantity, bound, statement, answer, excluded)
            if by_words or _is_in_other_row(quantity, statement, answer, excluded):
                yield quantity.text


def _is_example(answer: CheckedAnswer, statement: Statement, quantity: Quantity) -> bool:
    """Return whether the quantity is in a sentence that gives an example. The marker may be in an earlier clause."""
    start = statement.start + quantity.start
    return is_example(answer.text, quantity._replace(start=start, end=statement.start + quantity.end))


def _of_other_products(answer: CheckedAnswer) -> Iterator[str]:
    """Yield the numbers that only a chunk of another product states than the one that the question names."""
    if len(answer.chunks) == len(answer.shown) or not answer.shown or not answer.chunks:
        return
    unknown = korean.unsupported_quantities(answer.text, *answer.chunk_texts, question=answer.question)
    for quantity in korean.unsupported_quantities(answer.text, *answer.chunks, question=answer.question):
        if quantity not in unknown:
            yield quantity.text


def _is_misattributed(
    quantity: Quantity, bound: Bound, statement: Statement, answer: CheckedAnswer, excluded: set[Key]
) -> bool:
    """Return whether a number that the answer does not state fits the words around `quantity` much better."""
    own, other = fits(quantity, bound, statement, answer, excluded)
    return other >= MIN_SCORE and own < MAX_OWN * other


def _is_in_other_row(quantity: Quantity, statement: Statement, answer: CheckedAnswer, excluded: set[Key]) -> bool:
    """Return whether the number is only in table rows whose labels are not meant, next to a row whose label is meant.

    A label is meant if the question and the sentence contain the words that tell it from the other row's label.
    """
    slots = _slots(answer.chunks)
    own = [slot.passage for slot in slots if slot.key == quantity.key]
    if not own or not all(passage.statement.cells for passage in own):
        return False
    words = {feature for text in (answer.question, statement.text) for _, feature in features(text)}
    rows = {id(s.passage): s.passage for s in slots if s.key[1] == quantity.unit and s.key not in excluded}
    others = [passage for passage in rows.values() if passage.statement.cells and passage not in own]
    return all(any(_is_meant_instead(other, passage, words, answer) for other in others) for passage in own)


def _is_meant_instead(other: Passage, passage: Passage, words: set[Feature], answer: CheckedAnswer) -> bool:
    if other.chunk != passage.chunk or other.statement.header != passage.statement.header:
        return False
    idf = answer.passages.idf
    label, others_label = _label(passage), _label(other)
    distinct, others_distinct = label - others_label, others_label - label
    total = sum(idf.get(feature, UNSEEN) for feature in others_distinct)
    meant = sum(idf.get(feature, UNSEEN) for feature in others_distinct & words)
    return bool(total) and meant >= MIN_LABEL * total and not distinct & words


def _label(passage: Passage) -> set[Feature]:
    return {feature for _, feature in features(passage.statement.cells[0])}


def fits(
    quantity: Quantity, bound: Bound, statement: Statement, answer: CheckedAnswer, excluded: set[Key]
) -> tuple[float, float]:
    """Return how well the stated number fits its words in the answer, and how well the best other number fits them."""
    idf = answer.passages.idf
    words = dict.fromkeys((feature for _, feature in features(answer.question)), QUESTION)
    for feature, weight in _weights(statement.text, quantity).items():
        words[feature] = max(weight, words.get(feature, 0.0))
    words.pop(quantity.key, None)
    total = sum(weight * idf.get(feature, UNSEEN) for feature, weight in words.items()) or 1.0
    slots = [slot for slot in _slots(answer.chunks) if _family(slot.key) == _family(quantity.key)]
    own = other = 0.0
    for slot in slots:
        score = _score(slot, words, bound, idf) / total
        if slot.key == quantity.key:
            own = max(own, score)
        elif slot.key not in excluded:
            other = max(other, score)
    return own, other


def _score(slot: Slot, words: Weights, bound: Bound, idf: Mapping[Feature, float]) -> float:
    common = sum(w * slot.weights[f] * idf.get(f, UNSEEN) for f, w in words.items() if f in slot.weights)
    if (bound in LOWER and slot.bound in UPPER) or (bound in UPPER and slot.bound in LOWER):
        common *= REVERSED
    return common / slot.length


@lru_cache(maxsize=1024)
def _slots(chunks: tuple[str, ...]) -> tuple[Slot, ...]:
    passages: Passages = passages_of(chunks)
    found = []
    for passage in passages.all:
        for quantity, bound in bounded_quantities(passage.statement.text):
            weights = _weights(passage.statement.text, quantity)
            for word in passage.statement.inherited:
                weights.setdefault(canonical(word), INHERITED)
            length = math.sqrt(sum(w * passages.idf.get(f, UNSEEN) for f, w in weights.items())) or 1.0
            found.append(Slot(quantity.key, bound, passage, weights, length))
    return tuple(found)


def _weights(text: str, quantity: Quantity) -> dict[Feature, float]:
    """Return the words of a clause. The words in the phrase that contains the number weigh more."""
    start = max((m.end() for m in _BREAK.finditer(text, 0, quantity.start)), default=0)
    following = _BREAK.search(text, quantity.end)
    end = following.start() if following else len(text)
    if " | " in text:
        start, end = 0, len(text)
    weights: dict[Feature, float] = {}
    for position, feature in features(text):
        if feature == quantity.key and position == quantity.start:
            continue
        weight = PHRASE if start <= position < end else CLAUSE
        weights[feature] = max(weight, weights.get(feature, 0.0))
    return weights


def _family(key: Key) -> str:
    return _FAMILIES.get(key[1], key[1])
