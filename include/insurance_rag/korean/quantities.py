"""Parses amounts, periods, rates and counts in Korean text: `3천만원`, `3,000만 원` and `삼천만원` are equal.

The normalized units are 원 % 일 영업일 개월 시간 시 분 회 세 배 명 건. Weeks are converted to days, and years to
months. A number without a unit is not a quantity.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from insurance_rag.korean.text import fold_width


class Quantity(NamedTuple):
    """A value in its normalized unit. `start` and `end` are the position of `text` in the analyzed text."""

    value: float
    unit: str
    start: int
    end: int
    text: str

    @property
    def key(self) -> tuple[float, str]:
        """Value and unit, which do not depend on how the quantity is spelled."""
        return self.value, self.unit


#: Maps a written unit to its normalized unit and a conversion factor. A longer unit precedes a shorter one with the
#: same beginning, because patterns try the units in this order.
UNITS: dict[str, tuple[str, float]] = {
    "퍼센트": ("%", 1), "프로": ("%", 1), "%": ("%", 1), "영업일": ("영업일", 1),
    "개월": ("개월", 1), "달": ("개월", 1), "년": ("개월", 12),
    "주일": ("일", 7), "주간": ("일", 7), "주": ("일", 7), "일": ("일", 1),
    "시간": ("시간", 1), "시": ("시", 1), "분": ("분", 1), "원": ("원", 1),
    "회": ("회", 1), "번": ("회", 1), "차례": ("회", 1), "세": ("세", 1), "살": ("세", 1),
    "배": ("배", 1), "명": ("명", 1), "인": ("명", 1), "건": ("건", 1),
}  # fmt: skip

_SINO = {c: i for i, c in enumerate("영일이삼사오육칠팔구")} | {"공": 0, "륙": 6}
_SMALL = {"십": 10, "백": 100, "천": 1000}
_LARGE = {"만": 10**4, "억": 10**8, "조": 10**12}
_TENS = {word: 10 * i for i, word in enumerate(["열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔"], 1)}
_TENS["스무"] = 20
_ONES = {word: i for i, word in enumerate(["하나", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉"], 1)}
_ONES |= {"한": 1, "석": 3, "서": 3, "넉": 4}
_DAYS = ["하루", "이틀", "사흘", "나흘", "닷새", "엿새", "이레", "여드레", "아흐레", "열흘"]
_WORDS: dict[str, tuple[float, str]] = {
    **{word: (i, "일") for i, word in enumerate(_DAYS, 1)},
    "보름": (15, "일"), "일주일": (7, "일"), "이주일": (14, "일"), "반년": (6, "개월"), "절반": (50, "%"),
}  # fmt: skip

# Atomic groups (?>...) and bounded gaps keep the search time linear. A match starts with a digit or with the first
# syllable of a numeral. Both are rare in a policy, which makes the searches fast.
_NUMBER = r"(?>[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?)"
_UNIT = "|".join(UNITS)
# 조 means 10^12 only in an amount of money; elsewhere it means an article (제7조) or is part of a word.
_SCALES = r"(?>(?:[십백천만억]|조(?=\s?(?:[0-9][0-9,]{0,8}\s?[십백천]?억|원)))+)"
# Quantities written with digits. A match cannot start after a comma or point: 5 in `2.5` is not a separate number.
_DIGITS = re.compile(
    rf"""
    (?P<first>[0-9](?<![\d.,][0-9])(?>[0-9]*(?:,[0-9]{{3}})*(?:\.[0-9]+)?))
    (?: \s?분의\s?(?P<part>{_NUMBER})                                                     # 100분의 50
    | (?P<low>(?:\s?{_SCALES})?)\s?(?P<lowunit>{_UNIT})?\s?[~∼～〜]\s?                    # 3~5일, 10%~20%
      (?={_NUMBER}(?:\s?{_SCALES})?\s?(?P<rangeunit>{_UNIT}))
    | (?P<more>(?:\s?{_SCALES}(?:\s?{_NUMBER})?){{0,5}}+)\s?(?P<unit>{_UNIT})             # 1억 2,000만원
    )""",
    re.VERBOSE,
)
# A Sino-Korean numeral of several syllables. A single syllable is a numeral only before the units listed after `one`
# in _SPELLED, because 일, 이 and 사 are also words and parts of words.
_SINO_RUN = "[일이삼사오육칠팔구십백천만억]{2,12}?"
# Quantities written in words: Sino-Korean (삼천만원), native Korean (열두 달), and words such as 보름 (15 days).
_SPELLED = re.compile(
    rf"""
      (?P<sino>{_SINO_RUN}(?:\s{_SINO_RUN})?)\s?(?P<unit>{_UNIT})                         # 삼천만원
    | (?P<one>[일이삼사오육칠팔구십])\s?(?P<unit1>개월|년|영업일|퍼센트)                   # 삼 개월
    | (?P<native>(?:{"|".join(_TENS)})(?:{"|".join(_ONES)})?|{"|".join(_ONES)})
      \s?(?P<unit2>달|번|차례|살|배|명|시간|건)                                          # 열두 달
    | (?P<word>{"|".join(sorted(_WORDS, key=len, reverse=True))})(?!\s?[가-힣]?날)
    """,
    re.VERBOSE,
)
_INITIALS = "".join(sorted({*"일이삼사오육칠팔구십백천만억", *(word[0] for word in (*_TENS, *_ONES, *_WORDS))}))
# Finds where a numeral in words may start: not directly after a Korean syllable or a digit. For example, 이 in
# `보험이` is a particle, not the number 2.
_WORD_START = re.compile(rf"[{_INITIALS}](?<![가-힣\d].)")
_SCALE = re.compile("[십백천만억]")
# The tokens of a written number: numbers in digits, Korean digits, and scales such as 만.
_TOKENS = re.compile(rf"{_NUMBER}|[영공일이삼사오육륙칠팔구십백천만억조]")
# If one of these follows a unit, the unit is only part of another word. For example, `3회사` is not a count,
# and `5일반` is not a number of days.
_NOT_A_UNIT = re.compile(r"째|사(?!이|람|고|유|용)|반(?!복|환|드)|칙|래|장(?!애)|원칙")


def quantities(text: str) -> list[Quantity]:
    """Return every quantity in the text, in order.

    >>> [quantity.key for quantity in quantities("1년 이내에는 3천만원의 50%")]
    [(12.0, '개월'), (30000000.0, '원'), (50.0, '%')]
    """
    folded = fold_width(text)
    matches = [(match, _read_digits(match)) for match in _DIGITS.finditer(folded)]
    starts = [start.start() for start in _WORD_START.finditer(folded)]
    if starts:
        spelled = [match for at in starts if (match := _SPELLED.match(folded, at))]
        matches += [(match, _read_spelled(match)) for match in spelled]
        matches.sort(key=lambda found: found[0].start())
    return [Quantity(*key, m.start(), m.end(), text[m.start() : m.end()]) for m, key in matches if key is not None]


def _read_digits(match: re.Match[str]) -> tuple[float, str] | None:
    """Return the value and unit for a match of _DIGITS, or None if the match is not a quantity."""
    first, part, low, lowunit, rangeunit, more, unit = match.groups()
    if part:
        whole = parse_number(first)
        return (_tidy(100 * parse_number(part) / whole), "%") if whole else None
    if unit:
        return _normalised(parse_number(first + more), unit) if _is_unit(match, unit) else None
    if not (low or lowunit):  # in `1~2만원`, the scale 만 applies to both numbers
        low = "".join(_SCALE.findall(match.string[match.end() : match.start("rangeunit")]))
    return _normalised(parse_number(first + low), lowunit or rangeunit)


def _read_spelled(match: re.Match[str]) -> tuple[float, str] | None:
    """Return the value and unit for a match of _SPELLED, or None if the match is not a quantity."""
    sino, unit, one, unit1, native, unit2, word = match.groups()
    if word:
        return _WORDS[word]
    unit = unit or unit1 or unit2
    if not _is_unit(match, unit):
        return None
    return _normalised(_native(native) if native else parse_number(sino or one), unit)


def _is_unit(match: re.Match[str], unit: str) -> bool:
    return not (unit in "회일원세배명번" and _NOT_A_UNIT.match(match.string, match.end()))


def _normalised(value: float, unit: str) -> tuple[float, str]:
    name, factor = UNITS[unit]
    return _tidy(value * factor), name


def _tidy(value: float) -> float:
    return round(value, 6)


def _native(word: str) -> float:
    """Return the value of a native Korean numeral: 열두 is 12, 스물 is 20, 세 is 3."""
    for tens, value in _TENS.items():
        if word.startswith(tens):
            return value + _ONES.get(word[len(tens) :], 0)
    return _ONES[word]


def parse_number(text: str) -> float:
    """Return the value of a number written in digits, in Korean numerals, or in both.

    >>> parse_number("1억 2,000만"), parse_number("삼천오백"), parse_number("1.5억")
    (120000000.0, 3500.0, 150000000.0)
    """
    if text.isdigit() and text.isascii():
        return float(text)
    total = section = digit = 0.0
    seen = False
    for token in _TOKENS.findall(text):
        if token in _LARGE:
            total += (section + digit or (0.0 if seen else 1.0)) * _LARGE[token]
            section = digit = 0.0
        elif token in _SMALL:
            section += (digit or 1.0) * _SMALL[token]
            digit = 0.0
        else:
            digit = _SINO[token] if token in _SINO else float(token.replace(",", ""))
        seen = True
    return total + section + digit


#: Maximum number of supported quantities that are tried as operands of a calculation. Every pair of them is tried.
MAX_OPERANDS = 12


def unsupported_quantities(answer: str, *contexts: str) -> list[Quantity]:
    """Return the quantities in the answer that no context states.

    Quantities that the answer calculates from supported quantities are left out. For example, 500만원 in `1,000만원의
    50%인 500만원` is supported if a context states 1,000만원 and 50%. The words 전액 and 전부 ("in full") in a context
    count as 100 %.

    >>> [quantity.text for quantity in unsupported_quantities("90일 이후 1천만원", "보험금은 1,000만원입니다.")]
    ['90일']
    """
    stated = quantities(answer)
    if not stated:
        return []
    known = {q.key for context in contexts for q in quantities(context)}
    return unsupported(stated, known | ({(100.0, "%")} if any("전액" in c or "전부" in c for c in contexts) else set()))


def unsupported(stated: Iterable[Quantity], known: set[tuple[float, str]]) -> list[Quantity]:
    """Return the stated quantities that are not supported.

    A quantity is supported if its key is in `known`, or if it can be calculated from supported quantities before it.
    Unlike `unsupported_quantities`, this function takes parsed quantities.
    """
    missing: list[Quantity] = []
    operands: list[tuple[float, str]] = []
    for quantity in stated:
        if quantity.key in known or _is_calculated(quantity.key, operands):
            if quantity.key not in operands and len(operands) < MAX_OPERANDS:
                operands.append(quantity.key)
        else:
            missing.append(quantity)
    return missing


def _is_calculated(result: tuple[float, str], operands: list[tuple[float, str]]) -> bool:
    """Return whether the result is a sum, difference, product or percentage calculated from two of the operands."""
    value, unit = result
    for i, (a, unit_a) in enumerate(operands):
        for b, unit_b in operands[i + 1 :]:
            if unit_a == unit_b == unit and value in (_tidy(a + b), _tidy(abs(a - b))):
                return True
            if unit in (unit_a, unit_b) and unit_a != unit_b:
                factor = 100 if "%" in (unit_a, unit_b) else 1
                if value == _tidy(a * b / factor):
                    return True
    return False
