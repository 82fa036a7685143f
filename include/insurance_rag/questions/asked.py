"""Finds what kind of quantity a question asks for."""

from __future__ import annotations

import re

# Words of a question -> units of a quantity that can be the answer.
_ASKED: tuple[tuple[re.Pattern[str], frozenset[str]], ...] = (
    (re.compile(r"며칠|몇\s?일|얼마\s?동안|언제까지|기간"), frozenset(["일", "영업일", "개월", "일째"])),
    (re.compile(r"몇\s?(?:년|개월|달)"), frozenset(["개월"])),
    (re.compile(r"몇\s?(?:세|살)"), frozenset(["세"])),
    (re.compile(r"몇\s?(?:번|회|차례)"), frozenset(["회"])),
    (re.compile(r"몇\s?(?:%|퍼센트|프로)|비율|지급률"), frozenset(["%", "배"])),
    (re.compile(r"얼마(?!\s?동안|\s?만에)|금액"), frozenset(["원", "%", "배"])),
)


def asked_units(question: str) -> frozenset[str]:
    """Return the units of the quantities that the question asks for; empty if it asks for no quantity.

    >>> sorted(asked_units("입원하면 며칠째부터 하루에 얼마를 받나요?"))
    ['%', '개월', '배', '영업일', '원', '일', '일째']
    """
    return frozenset().union(*(units for pattern, units in _ASKED if pattern.search(question)))
