"""Finds the numbers that a right answer must contain."""

from __future__ import annotations

import re

from insurance_rag.korean import articles, known_quantities, quantities
from insurance_rag.korean.calculations import is_each
from insurance_rag.korean.equations import right_equations
from insurance_rag.korean.quantities import Quantity
from insurance_rag.questions.asked import asked_units

# A quantity before one of these is part of a condition, which an answer may leave out: `계약일부터 1년 이내인 경우`.
_CONDITION = re.compile(
    r"[^.,\n]{0,18}?(?:면(?=[\s,])|경우|때(?!문)|뒤에?는|후에?는|동안은)|\s?이내에\s\S+[은한된]\s|이?\s?되[기지]\s(?:전|않은)"
)

_TRIVIAL = frozenset([(1.0, "회"), (1.0, "명"), (1.0, "번째")])
"""Quantities that an answer often states in other words, such as `수술할 때마다` for `수술 1회당`."""


def required_numbers(reference: str, evidence: str, question: str) -> list[str]:
    """Return the quantities of the reference answer that every right answer must state, as they are written there.

    These are the quantities that the evidence states and the question does not, and of these the ones that the question
    asks for. The operands of a calculation do not count, and the quantities of a condition only if there are no others.

    >>> required_numbers("90일이 지난 때에는 3,000만원을 지급합니다.", "90일 ... 3,000만원을 지급", "얼마?")
    ['3,000만원']
    """
    given, known = known_quantities(question), known_quantities(evidence)
    operands = _operands(reference)
    stated = [
        quantity
        for quantity in _outside_articles(reference)
        if quantity.key in known - given - operands - _TRIVIAL and not is_each(reference, quantity)
    ]
    asked = asked_units(question)
    wanted = [q for q in stated if q.unit in asked] or stated
    results = [q for q in wanted if not _CONDITION.match(reference, q.end)]
    return list({q.key: q.text.strip() for q in results or ([] if operands else wanted)}.values())


def _operands(text: str) -> set[tuple[float, str]]:
    """Return the quantities that the text calculates with. An answer that states only the result is right, too."""
    equations = right_equations(text)
    inside = [q for q in quantities(text) if any(e.start <= q.start < e.end for e in equations)]
    return {q.key for q in inside} - {e.result.key for e in equations}


def _outside_articles(text: str) -> list[Quantity]:
    cited = [(a.start, a.end) for a in articles(text)]
    return [q for q in quantities(text) if not any(start <= q.start < end for start, end in cited)]
