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
MARGIN = 0.1
"""A contradicting statement must be this much closer to the reference than an agreeing one."""
MIN_CONTAINMENT = 0.75
"""Fraction of a denying statement's lemmas that must occur in an affirming statement of the reference."""
NEAR_VERBATIM = 0.75
_WITHOUT = re.compile(r"([가-힣]{2,})\s?없이")
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
        if noun in reference:
            yield CorrectnessProblem(kind="polarity", text=f"{noun} 없이 contradicts the reference")
            return
    for contradicting, own in _contradictions(answer, reference):
        yield CorrectnessProblem(kind="polarity", text=f"{contradicting.text!r} contradicts {own.text!r}")
        return


def _contradictions(answer: str, reference: str) -> Iterator[tuple[Statement, Statement]]:
    wanted = statements_with_stance(reference)
    said = statements_with_stance(answer)
    main = [(s, stance) for s, stance in said if not _is_aside(s)]
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
            if closest >= (MIN_OVERLAP if stance.axis in SHARED_AXES else MIN_OWN_OVERLAP) and closest > max(
                same
            ) + MARGIN * (max(same) > 0):
                yield statement, own
    yield from _denials(main, wanted)
    yield from _embedded(answer, reference)


def _denials(
    said: Sequence[tuple[Statement, Stance]], reference: Sequence[tuple[Statement, Stance]]
) -> Iterator[tuple[Statement, Statement]]:
    """Yield statements that deny a benefit for what the reference affirms, whatever its predicate."""
    if any(stance.sign < 0 for _, stance in reference):
        return
    for statement, stance in said:
        about = _about(statement)
        denied = stance.axis == "benefit" or (stance.axis == "charge" and statement.negated)
        if denied and stance.sign < 0 and about:
            for own, _ in reference:
                if len(about & _about(own)) >= MIN_CONTAINMENT * len(about):
                    yield statement, own


def _embedded(answer: str, reference: str) -> Iterator[tuple[Statement, Statement]]:
    """Yield statements that repeat a relative clause of the reference with the opposite polarity."""
    for own in analyze(reference):
        for statement in analyze(answer):
            if _overlap(own, statement) < NEAR_VERBATIM:
                continue
            wanted = {p.lemma: p.negated for p in own.predicates}
            if any(wanted.get(p.lemma, p.negated) is not p.negated for p in statement.predicates):
                yield statement, own


def _is_aside(statement: Statement) -> bool:
    """Return whether a statement adds an exception or a neighboring fact, or only says how something is done."""
    predicate = statement.predicate
    manner = predicate is not None and predicate.connective in ("아서", "어서")
    return manner or _ASIDE.match(statement.text) is not None


def _about(statement: Statement) -> frozenset[str]:
    return statement.lemmas - {p.lemma for p in statement.predicates}


def _without(text: str) -> frozenset[str]:
    return frozenset(_WITHOUT.findall(text))


def _overlap(a: Statement, b: Statement) -> float:
    return f_score(_terms(a), _terms(b))


def _terms(statement: Statement) -> frozenset[str]:
    """Return the lemmas and quantities of a statement."""
    return statement.lemmas | {f"{q.quantity.value:g}{q.quantity.unit}" for q in statement.quantities}
