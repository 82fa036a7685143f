"""Swaps: what the reference says of one term, number or label, the answer says of another one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.content import f_score
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.korean import quantities
from insurance_rag.korean.statements import Statement, analyze

MARGIN = 0.35
"""A statement of another term must be this much closer than the statement of the same term."""
_LABEL = re.compile(r"([가-힣A-Za-zⅠⅡ]{2,})(?:은|는|이|가|의|에는|도|:)?\s?$")
_UNIT = re.compile(r"^[\d.e+-]+")
_TOPIC = re.compile(
    r"^\W*(?:제\d+조\S*(?:\s제\d+[항호]\S*)*\s(?:따르면|따라|보면)?,?\s?)?([가-힣]{2,12}?)(?:은|는|이란|란)\s"
)


def find_swaps(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the answer gives a label the value of another one, or a term the words of another one."""
    reference = expected.reference or ""
    for label, said, right_value in _swapped_values(answer, reference):
        yield CorrectnessProblem(kind="roles", text=f"{label}: {said} ≠ {right_value}")
        return
    for name, other in _swapped_anchors(answer, reference):
        yield CorrectnessProblem(kind="roles", text=f"{name} ≠ {other}")
        return


def _swapped_anchors(answer: str, reference: str) -> Iterator[tuple[str, str]]:
    """Yield pairs of anchors of the reference, such that the answer says of the first what is true of the second."""
    right, said = _anchors(reference), _anchors(answer)
    for name, words in said.items():
        if name not in right:
            continue
        own = f_score(words, right[name])
        for other, others in right.items():
            both = any({name, other} <= set(_names(statement)) for statement in analyze(answer))
            if (
                other != name
                and other in said
                and not both
                and _same_kind(name, other)
                and f_score(words, others) > own + MARGIN
            ):
                yield name, other


def _swapped_values(answer: str, reference: str) -> Iterator[tuple[str, str, str]]:
    """Yield labels of quantities, such as 급여 in `급여는 70%`, with the value of another label of the reference."""
    right, said = _labeled_values(reference), _labeled_values(answer)
    for label, (key, text) in said.items():
        if label in right and right[label][0] != key and key in {other for other, _ in right.values()}:
            yield label, text, right[label][1]


def _labeled_values(text: str) -> Mapping[str, tuple[tuple[float, str], str]]:
    found: dict[str, tuple[tuple[float, str], str]] = {}
    for quantity in quantities(text):
        label = _LABEL.search(text[max(0, quantity.start - 20) : quantity.start])
        if label:
            found[label[1]] = quantity.key, quantity.text
    return found


def _same_kind(a: str, b: str) -> bool:
    return (
        _UNIT.sub("", a) == _UNIT.sub("", b) if a[0].isdigit() and b[0].isdigit() else a[0].isalpha() and b[0].isalpha()
    )


def _anchors(text: str) -> Mapping[str, frozenset[str]]:
    """Return the words of the statement of each topic and each quantity, without the other anchors."""
    found: dict[str, frozenset[str]] = {}
    statements = analyze(text)
    names = {name for s in statements for name in _names(s)}
    for statement in statements:
        for name in _names(statement):
            found.setdefault(name, statement.lemmas - names)
    return found


def _names(statement: Statement) -> Sequence[str]:
    topic = _TOPIC.match(statement.text)
    quantities = [f"{q.quantity.value:g}{q.quantity.unit}" for q in statement.quantities]
    return [*([topic[1]] if topic else []), *quantities]
