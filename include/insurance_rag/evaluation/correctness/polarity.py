"""Polarity: an answer must not deny what the reference affirms, or the other way round."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.content import f_score
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.stance import SHARED_AXES, Stance, statements_with_stance, verdict
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
_WITHOUT = re.compile(
    r"([가-힣]{2,}?)(?:\s?없이|(?:과|와|에)?\s?(?:상관|관계)\s?없이|(?:을|를)?\s?(?:하|받|얻)지\s?않(?:았)?(?:더라도|아도))"
)
_ALWAYS = re.compile("어떤 경우에도|무조건|언제나|전혀|예외 없이")
_ASIDE = re.compile(r"\s*(?:다만|단,|참고로|하지만|그래도|그러나|반면|대신|한편|그 밖|그밖)")
"""Begins a statement that adds an exception or a neighboring fact."""
WORDS = {1: "yes", -1: "no"}


def find_wrong_polarity(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the answer says yes where the reference says no, or contradicts one of its statements."""
    reference = expected.reference or ""
    wanted, found = verdict(reference, expected.question), verdict(answer, expected.question)
    if wanted and wanted == found:
        return
    if wanted and found:
        text = f"the answer says {WORDS[found]}; the reference says {WORDS[wanted]}"
        yield CorrectnessProblem(kind="polarity", text=text)
        return
    for noun in sorted(_without(answer) - _without(reference) - _without(expected.question)):
        if noun in reference and not re.search(rf"{noun}.{{0,12}}?(?:않|없|못|아니)", reference):
            yield CorrectnessProblem(kind="polarity", text=f"{noun} 없이 contradicts the reference")
            return
    for contradicting, own in _contradictions(answer, reference):
        yield CorrectnessProblem(kind="polarity", text=f"{contradicting.text!r} contradicts {own.text!r}")
        return


def _contradictions(answer: str, reference: str) -> Iterator[tuple[Statement, Statement]]:
    wanted = statements_with_stance(reference)
    said = statements_with_stance(answer)
    asides = {s.sentence for s, _ in said if _ASIDE.match(s.text)}
    main = [(s, stance) for s, stance in said if s.sentence not in asides and not _is_manner(s)]
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
        denied = stance.axis == "benefit" or (stance.axis == "charge" and statement.negated)
        if denied and stance.sign < 0 and about:
            for own, _ in reference:
                if len(about & _about(own)) >= MIN_CONTAINMENT * len(about):
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
        affirmed = {p.lemma for p in own.predicates if p.ending in ("final", "connective") and len(p.lemma) > 1}
        for statement in said:
            if statement.negated and statement.predicate and statement.predicate.lemma in affirmed - excluded:
                if not own.negated:
                    yield statement, own


def _embedded(answer: str, reference: str) -> Iterator[tuple[Statement, Statement]]:
    """Yield statements that repeat a relative clause of the reference with the opposite polarity."""
    for own in analyze(reference):
        for statement in analyze(answer):
            if _overlap(own, statement) < NEAR_VERBATIM:
                continue
            wanted = {p.lemma: p.negated for p in own.predicates}
            relative = [p for p in statement.predicates if p.ending == "adnominal"]
            if any(wanted.get(p.lemma, p.negated) is not p.negated for p in relative):
                yield statement, own


def _is_manner(statement: Statement) -> bool:
    """Return whether a statement only says how or why something is done, or concedes something: 줄여서, 들어가지만."""
    return statement.predicate is not None and statement.predicate.connective in ("아서", "어서", "지만", "으나")


def _about(statement: Statement) -> frozenset[str]:
    return statement.lemmas - {p.lemma for p in statement.predicates}


def _without(text: str) -> frozenset[str]:
    return frozenset(_WITHOUT.findall(text))


def _overlap(a: Statement, b: Statement) -> float:
    return f_score(_terms(a), _terms(b))


def _terms(statement: Statement) -> frozenset[str]:
    """Return the lemmas and quantities of a statement."""
    return statement.lemmas | {f"{q.quantity.value:g}{q.quantity.unit}" for q in statement.quantities}
