"""Payments: whether the customer receives or pays an amount. An answer must not turn this round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.stance import main_text, stance
from insurance_rag.korean.roles import CUSTOMERS, INSURER
from insurance_rag.korean.statements import Statement, analyze

FLOWS = {"benefit": "받음", "charge": "냄"}
Flow = Literal["benefit", "charge"]
"""benefit: the customer receives an amount. charge: the customer pays it."""


def find_reversed_payments(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the customer pays an amount in the answer but receives it in the reference, or vice versa."""
    main = main_text(answer)
    if reversed_statement := _reverse_payment(main, expected):
        yield CorrectnessProblem(kind="roles", text=reversed_statement.text)
        return
    said, right = _flows(main), _flows(expected.reference or "")
    asked = _asked(expected.question)
    for amount, flow in said.items():
        wanted = right.get(amount) or (asked if amount in right else None)
        if wanted and flow and wanted != flow:
            yield CorrectnessProblem(kind="roles", text=f"{amount}: {FLOWS[flow]} ≠ {FLOWS[wanted]}")
            return


def _asked(question: str) -> Flow | None:
    statements = analyze(question)
    return _flow(statements[-1]) if statements else None


_PAID = frozenset(["원", "%"])
_MONEY = frozenset(["보험료", "이자", "금액", "돈", "비용", "보험금", "환급금"])


def _reverse_payment(answer: str, expected: Expected) -> Statement | None:
    """Return a statement that the customer must pay money to the insurer, if the reference only grants a benefit."""
    flows = [_flow(s) for s in analyze(expected.reference or "")]
    if "charge" in flows or "benefit" not in flows or _asked(expected.question) == "charge":
        return None
    for statement in analyze(answer):
        to_insurer = any(name in INSURER and role == "recipient" for name, role in statement.roles)
        if to_insurer and statement.lemmas & _MONEY and _flow(statement) == "charge":
            return statement
    return None


def _flows(text: str) -> Mapping[str, Flow | None]:
    """Return, for each quantity, whether the customer receives or pays it; None if that is unknown."""
    return {
        f"{q.quantity.value:g}{q.quantity.unit}": _flow(s)
        for s in analyze(text)
        for q in s.quantities
        if q.quantity.unit in _PAID
    }


def _flow(statement: Statement) -> Flow | None:
    own = stance(statement)
    if own is None or own.sign < 0 or own.axis not in ("benefit", "charge"):
        return None
    actors = {name for name, role in statement.roles if role in ("subject", "topic")}
    if actors & INSURER and actors & CUSTOMERS:
        return None
    insurer_pays = bool(actors & INSURER)
    return "benefit" if own.axis == "benefit" or insurer_pays or "내 드" in statement.text else "charge"
