"""Polarity: an answer must not deny what the reference affirms, or the other way round."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.content import f_score
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.stance import (
    SHARED_AXES,
    Stance,
    is_aside,
    names_benefit,
    stance_of,
    statements_with_stance,
    verdict,
)
from insurance_rag.korean import is_refusal_sentence
from insurance_rag.korean.predicates import Predicate
from insurance_rag.korean.statements import Statement, analyze

MIN_OVERLAP = 0.25
"""Two statements are about the same matter if their lemmas have at least this F-score."""
MIN_OWN_OVERLAP = 0.1
"""The same for two statements with the same predicate, which is a common lemma already."""
MIN_OVERLAP_BOTH = 0.6
"""The same if the reference affirms one case and denies another."""
MARGIN = 0.1
"""A contradicting statement must be this much closer to the reference than an agreeing one."""
MIN_CONTAINMENT = 0.75
"""Fraction of a denying statement's lemmas that must occur in an affirming statement of the reference."""
NEAR_VERBATIM = 0.75
_COMMON = frozenset(["하", "되", "있", "없", "이", "보", "말", "것", "받", "정하", "따르"])
_MANNER = frozenset(["아서", "어서", "지만", "으나", "니", "으니", "니까", "으니까"])
_ALWAYS = re.compile("어떤 경우에도|무조건|언제나|전혀|예외 없이")
WORDS = {1: "네", -1: "아니요"}


def find_wrong_polarity(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the answer says yes where the reference says no, or contradicts one of its statements."""
    reference = expected.reference or ""
    wanted, found = verdict(reference, expected.question), verdict(answer, expected.question)
    if wanted and wanted == found:
        return
    if wanted and found:
        text = f"{WORDS[found]} ≠ {WORDS[wanted]}"
        yield CorrectnessProblem(kind="polarity", text=text)
        return
    for contradicting, own in _contradictions(answer, reference):
        yield CorrectnessProblem(kind="polarity", text=f"{contradicting.text} ≠ {own.text}")
        return


def _contradictions(answer: str, reference: str) -> Iterator[tuple[Statement, Statement]]:
    wanted = statements_with_stance(reference, answer)
    said = statements_with_stance(answer, reference)
    asides = {s.sentence for s, _ in said if is_aside(s.text)}
    main = [
        (s, stance)
        for s, stance in said
        if s.sentence not in asides and not _is_manner(s) and not is_refusal_sentence(s.text)
    ]
    for own, stance in wanted:
        same = [0.0] + [_overlap(own, s) for s, other in said if other == stance]
        opposite = [
            (_overlap(own, s), s)
            for s, other in main
            if other == Stance(stance.axis, -stance.sign)
            and _overlap(own, s) > max([0.0, *(_overlap(w, s) for w, agreeing in wanted if agreeing == other)])
        ]
        if opposite:
            closest, statement = max(opposite, key=lambda pair: pair[0])
            both = any(other == Stance(stance.axis, -stance.sign) for _, other in wanted)
            least = MIN_OVERLAP_BOTH if both else MIN_OVERLAP if stance.axis in SHARED_AXES else MIN_OWN_OVERLAP
            if closest >= least and closest > max(same) + MARGIN * (max(same) > 0):
                yield statement, own
    yield from _denials(main, wanted)
    yield from _denied_quantities(main, wanted)
    yield from _generalizations(main, wanted)
    yield from _denied_actions([s for s, _ in main], reference)
    yield from _embedded(answer, reference)


def _denials(
    said: Sequence[tuple[Statement, Stance]], reference: Sequence[tuple[Statement, Stance]]
) -> Iterator[tuple[Statement, Statement]]:
    """Yield statements that deny a benefit for what the reference affirms, whatever its predicate."""
    if any(stance.sign < 0 or own.negated for own, stance in reference):
        return
    for statement, stance in said:
        about = _about(statement)
        light = statement.predicate is not None and statement.predicate.lemma in ("하", "되", "적용")
        denied = stance.axis == "benefit" or (statement.negated and (stance.axis == "charge" or light))
        if denied and stance.sign < 0 and about:
            for own, _ in reference:
                known = sum(word in own.lemmas or (len(word) > 1 and word in own.text) for word in about)
                if known >= MIN_CONTAINMENT * len(about):
                    yield statement, own


def _denied_quantities(
    said: Sequence[tuple[Statement, Stance]], reference: Sequence[tuple[Statement, Stance]]
) -> Iterator[tuple[Statement, Statement]]:
    """Yield statements that deny a quantity without a bound that the reference affirms: 60%는 적용되지 않습니다."""
    for own, stance in reference:
        exact = {q.key for q in own.quantities if not q.bound} if stance.sign > 0 else set()
        for statement, other in said:
            denied = other.sign < 0 and other.axis in SHARED_AXES - {"cut"}
            if denied and exact & {q.key for q in statement.quantities if not q.bound}:
                yield statement, own


def _generalizations(
    said: Sequence[tuple[Statement, Stance]], reference: Sequence[tuple[Statement, Stance]]
) -> Iterator[tuple[Statement, Statement]]:
    """Yield statements that are said to hold in every case although the reference states the opposite of one case."""
    for statement, stance in said:
        if _ALWAYS.search(statement.text):
            yield from ((statement, own) for own, other in reference if other == Stance(stance.axis, -stance.sign))


def _denied_actions(said: Sequence[Statement], reference: str) -> Iterator[tuple[Statement, Statement]]:
    """Yield statements whose main predicate denies what any main or connected predicate of the reference affirms."""
    statements = analyze(reference)
    excluded = {s.predicate.lemma for s in said if s.predicate and not s.predicate.negated}
    excluded |= {p.lemma for own in statements for p in own.predicates if p.negated}
    for own in statements:
        affirmed = {p.lemma for p in own.predicates if p.ending in ("final", "connective")} - _COMMON
        for statement in said:
            denied = {statement.predicate.lemma} if statement.negated and statement.predicate else set[str]()
            lacks = denied and statement.predicate and not statement.predicate.modality
            if denied & {"필요", "없"} or (lacks and statement.text.rstrip(" .").endswith("없습니다")):
                denied |= {p.lemma for p in statement.predicates if p.ending == "adnominal"}
            if not own.negated and denied & affirmed - excluded:
                yield statement, own


def _embedded(answer: str, reference: str) -> Iterator[tuple[Statement, Statement]]:
    """Yield statements that repeat a relative clause of the reference with the opposite polarity."""
    for own in analyze(reference):
        for statement in analyze(answer):
            if _overlap(own, statement) < NEAR_VERBATIM or own.negated is not statement.negated:
                continue
            wanted = {p.lemma: p.negated for p in own.predicates}
            relative = [p for p in statement.predicates if p.ending == "adnominal"]
            if any(_excludes(p) for p in relative) and not any(_excludes(p) for p in own.predicates):
                yield statement, own
            if any(wanted.get(p.lemma, p.negated) is not p.negated for p in relative):
                yield statement, own


def _excludes(predicate: Predicate) -> bool:
    """Return whether a predicate excludes something: 암을 제외한 나머지."""
    return stance_of(predicate) == Stance("benefit", -1) and not predicate.negated


def _is_manner(statement: Statement) -> bool:
    """Return whether a statement only says how or why something is done, or concedes something: 줄여서, 들어가지만."""
    return statement.predicate is not None and statement.predicate.connective in _MANNER


def _about(statement: Statement) -> frozenset[str]:
    """Return what a statement is about: its lemmas without predicates and words for benefits."""
    return frozenset(
        word for word in statement.lemmas - {p.lemma for p in statement.predicates} if not names_benefit(word)
    )


def _overlap(a: Statement, b: Statement) -> float:
    return f_score(_terms(a), _terms(b))


def _terms(statement: Statement) -> frozenset[str]:
    """Return the lemmas and quantities of a statement."""
    return statement.lemmas | {f"{q.quantity.value:g}{q.quantity.unit}" for q in statement.quantities}
