"""Checks calculations that an answer writes out: `90만원 ÷ 6 = 15만원`, `7일 가운데 4일 지났으므로 3일 남음`."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from typing import NamedTuple

from insurance_rag.korean.quantities import Quantity, quantities

TOLERANCE = 0.005
"""Relative difference at which a result still counts as right, because answers round."""

_TERM = r"[0-9][0-9,.]*(?:\s?[십백천만억]+(?:\s?[0-9,]+[백천만]*)*)?\s?(?:[가-힣%]{1,4})?(?:\([^()\n]{1,20}\))?"
_OPERATOR = r"\s?[×✕xX*·÷/+\-−–]\s?"
_EQUATION = re.compile(rf"\(?{_TERM}(?:{_OPERATOR}\(?{_TERM}\)?){{1,8}}\s?=\s?(?={_TERM})")
_TOKEN = re.compile(rf"(?P<term>{_TERM})|(?P<operator>[×✕xX*·÷/+\-−–()])")
_ELAPSED = re.compile(r"(?:이|은|째|이나)?\s?(?:이미\s)?(?:지나|지났|지난|흘|경과|됐|되었|된)")
_LEFT = re.compile(r"(?:이|은|만|간|의\s?(?:기간|시간)이?)?\s?(?:더\s)?남")
_MULTIPLY, _DIVIDE, _ADD = frozenset("×✕xX*·"), frozenset("÷/"), frozenset("+")


class Equation(NamedTuple):
    """A calculation that an answer writes out. `start` and `end` are the position of the part before the result."""

    start: int
    end: int
    result: Quantity


def right_equations(answer: str) -> list[Equation]:
    """Return the calculations in the answer with a right result. Whether the operands are right, is not checked.

    >>> [e.result.text for e in right_equations("90만원 ÷ 6 = 15만원이고, 800만원 + 800만원 = 1,700만원입니다.")]
    ['15만원']
    """
    if "=" not in answer:
        return []
    found = {quantity.start: quantity for quantity in quantities(answer)}
    right = []
    for match in _EQUATION.finditer(answer):
        result = found.get(match.end())
        value = _evaluate(match.group().rstrip(" ="), result.unit) if result else None
        if result and value is not None and abs(value - result.value) <= TOLERANCE * abs(result.value):
            right.append(Equation(match.start(), match.end(), result))
    return right


def without_elapsed(answer: str, missing: Sequence[Quantity], known: Set[tuple[float, str]]) -> list[Quantity]:
    """Leave out two periods of the answer that make up a known one: one that has elapsed, and one that is left.

    The elapsed period may follow from dates or weekdays in the question.
    """
    elapsed = [q for q in missing if _ELAPSED.match(answer, q.end)]
    left = [q for q in missing if _LEFT.match(answer, q.end)]
    pairs = [(a, b) for a in elapsed for b in left if a.unit == b.unit and (a.value + b.value, a.unit) in known]
    return [q for q in missing if not any(q in pair for pair in pairs)]


def _evaluate(formula: str, unit: str) -> float | None:
    """Return the value of a formula in the unit of its result, or None if it is not a formula."""
    tokens: list[float | str] = []
    for match in _TOKEN.finditer(formula):
        tokens.append(_value(match["term"], unit) if match["term"] else match["operator"])
    try:
        value, rest = _sum(tokens)
    except (ArithmeticError, IndexError, TypeError):
        return None
    return None if rest else value


def _value(term: str, unit: str) -> float:
    """Return the value of a term. Years count as years in a formula about ages, and a percentage as a fraction."""
    found = quantities(term)
    if not found:
        digits = re.match(r"[0-9.,]+", term)
        return float(digits[0].rstrip(".,").replace(",", "")) if digits else 0.0
    quantity = found[0]
    if quantity.unit == "%" and unit != "%":
        return quantity.value / 100
    return quantity.value / 12 if quantity.unit == "개월" and unit == "세" else quantity.value


Tokens = list[float | str]


def _sum(tokens: Tokens) -> tuple[float, Tokens]:
    value, tokens = _product(tokens)
    while tokens and tokens[0] != ")":
        sign = 1 if tokens[0] in _ADD else -1
        other, tokens = _product(tokens[1:])
        value += sign * other
    return value, tokens


def _product(tokens: Tokens) -> tuple[float, Tokens]:
    value, tokens = _operand(tokens)
    while tokens and (tokens[0] in _MULTIPLY or tokens[0] in _DIVIDE):
        operator = tokens[0]
        other, tokens = _operand(tokens[1:])
        value = value * other if operator in _MULTIPLY else value / other
    return value, tokens


def _operand(tokens: Tokens) -> tuple[float, Tokens]:
    if tokens[0] == "(":
        value, tokens = _sum(tokens[1:])
        return value, tokens[1:]
    if isinstance(tokens[0], str):
        raise TypeError(f"expected a number, not {tokens[0]!r}")
    return tokens[0], tokens[1:]
