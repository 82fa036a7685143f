"""Reads whether a quantity is a minimum or a maximum: 20일 이상, 최대 5년, 10만원을 넘지 않으면."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from insurance_rag.korean.quantities import Quantity, quantities

Bound = Literal["at_least", "more_than", "at_most", "less_than", ""]
UPPER, LOWER = frozenset(["at_most", "less_than"]), frozenset(["at_least", "more_than"])

# What may stand between a quantity and the word for its bound: 4일째 입원일부터, 20일의 기간 이상.
_GAP = r"(?:째)?\s?(?:\([^()\n]{0,30}\))?\s?(?:\S{1,4}일(?=부터|까지)|금액|기간)?(?:의|을|를|이|가|은|는|도|로)?\s?"
_NOT = r"(?:지\s?(?:않|못|아니)|지는\s?않)"
_AFTER: tuple[tuple[str, Bound], ...] = (
    (rf"(?:초과|넘|지나){_NOT}|(?:초과|넘|지나)\S{{0,3}}\s?(?:전|않)|(?:넘|초과)(?:하)?{_NOT}", "at_most"),
    (
        r"(?:되|지나|차|채우)기\s?(?:바로\s?)?전|못\s?(?:미치|되|넘기)|에\s?못\s?미치|미만|이?\s?안\s?(?:되|된|됐)|보다\s?(?:적|작|짧|낮)",
        "less_than",
    ),
    (r"에\s?(?:미치지|이르지)\s?못|미치지\s?(?:못|않)", "less_than"),
    (r"초과|넘|지나|지난|지났|경과|보다\s?(?:많|크|길|높)|이후|뒤|후", "more_than"),
    (r"이상|부터|하한|최소|최저", "at_least"),
    (
        r"(?:이|가)?\s?(?:될|되는|찰)\s?(?:때|날)까지|이하|이내|안에|안(?=[은이으]?로?\s|에)|내에|까지|한도|상한|최고|최대|"
        r"범위|한(?=\s?하여)",
        "at_most",
    ),
)
_AFTER_PATTERNS = [(re.compile(_GAP + f"(?:{words})"), bound) for words, bound in _AFTER]
_BEFORE: tuple[tuple[str, Bound], ...] = (
    (r"(?:최소|적어도|최저|아무리\s?적어도|하한|못해도)", "at_least"),
    (r"(?:최대|최고|많아야|길게는|길어도|많게는|한도는|상한은)", "at_most"),
)
_BEFORE_PATTERNS = [
    (re.compile(f"{words}" + r"\s?(?:한|은|는|인|으?로)?\s?(?:약|만)?\s?$"), bound) for words, bound in _BEFORE
]


class BoundedQuantity(NamedTuple):
    """A quantity and its bound; the bound is empty if the text states none."""

    quantity: Quantity
    bound: Bound

    @property
    def key(self) -> tuple[float, str]:
        """Value and unit of the quantity."""
        return self.quantity.key


def bounded_quantities(text: str) -> list[BoundedQuantity]:
    """Return every quantity in the text with its bound, in order.

    >>> [(b.key, b.bound) for b in bounded_quantities("20일 이상, 최대 5년, 10만원을 넘지 않으면")]
    [((20.0, '일'), 'at_least'), ((60.0, '개월'), 'at_most'), ((100000.0, '원'), 'at_most')]
    """
    return [BoundedQuantity(quantity, bound_of(text, quantity)) for quantity in quantities(text)]


def bound_of(text: str, quantity: Quantity) -> Bound:
    """Return the bound that the words around a quantity state."""
    for pattern, bound in _AFTER_PATTERNS:
        if pattern.match(text, quantity.end):
            return bound
    before = text[max(0, quantity.start - 12) : quantity.start]
    return next((bound for pattern, bound in _BEFORE_PATTERNS if pattern.search(before)), "")
