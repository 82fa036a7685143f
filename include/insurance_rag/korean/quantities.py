"""Parses amounts, periods, rates and counts in Korean text: `3천만원`, `3,000만 원` and `삼천만원` are equal.

The normalized units are 원 % 일 영업일 개월 시간 시 분 회 세 배 명 건 촌 km m cm kg, and 일째 회째 번째 for ordinals.
Weeks are converted to days, and years to months. A number without a unit is not a quantity.
"""

from __future__ import annotations

import re
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
    "일째": ("일째", 1), "회째": ("회째", 1), "번째": ("번째", 1), "킬로미터": ("km", 1), "km": ("km", 1),
    "㎞": ("km", 1),
    "센티미터": ("cm", 1), "cm": ("cm", 1), "㎝": ("cm", 1), "미터": ("m", 1), "kg": ("kg", 1), "킬로그램": ("kg", 1),
    "촌": ("촌", 1), "퍼센트": ("%", 1), "프로": ("%", 1), "%": ("%", 1), "영업일": ("영업일", 1),
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
    **{f"열{word}": (10 + i, "일") for i, word in enumerate(_DAYS[:9], 1)},
    **{f"열{word}째": (10 + i, "일째") for i, word in enumerate(_DAYS[:9], 1)},
    **{f"{word}째": (i, "일째") for i, word in enumerate(_DAYS, 1)},
    "보름": (15, "일"), "일주일": (7, "일"), "이주일": (14, "일"), "반년": (6, "개월"), "절반": (50, "%"),
    "반반": (50, "%"),
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
# A run needs a scale such as 십: 사이 in `두 사람 사이인` is a word.
_SINO_RUN = "(?=[일이삼사오육칠팔구]{0,2}[십백천만억])[일이삼사오육칠팔구십백천만억]{2,12}?"
# Quantities written in words: Sino-Korean (삼천만원), native Korean (열두 달), and words such as 보름 (15 days).
_SPELLED = re.compile(
    rf"""
      (?P<sino>{_SINO_RUN}(?:\s{_SINO_RUN})?)\s?(?P<unit>{_UNIT})                         # 삼천만원
    | (?P<one>[일이삼사오육칠팔구십])\s?(?P<unit1>개월|년|영업일|퍼센트)                   # 삼 개월
    | (?P<native>(?:{"|".join(_TENS)})(?:{"|".join(_ONES)})?|{"|".join(_ONES)})
      \s?(?P<unit2>달|번|차례|살|배|명|시간|건|영업일|주(?!차)|날(?!짜|씨))        # 열두 달, 스무 날
    | (?P<round>백|천|만(?=\s?원))\s?(?P<unit3>살|세|원)                                # 백 살
    | (?P<days>(?:스무|열|스물|서른)(?:{"|".join(_ONES)})?)\s날                             # 스무 날
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
        is_midnight = unit == "시" and first == "12" and match.string[: match.start()].rstrip().endswith("밤")
        return _normalised(parse_number("24" if is_midnight else first + more), unit) if _is_unit(match, unit) else None
    if not (low or lowunit):  # in `1~2만원`, the scale 만 applies to both numbers
        low = "".join(_SCALE.findall(match.string[match.end() : match.start("rangeunit")]))
    return _normalised(parse_number(first + low), lowunit or rangeunit)


def _read_spelled(match: re.Match[str]) -> tuple[float, str] | None:
    """Return the value and unit for a match of _SPELLED, or None if the match is not a quantity."""
    sino, unit, one, unit1, native, unit2, round_number, unit3, days, word = match.groups()
    if days:
        return _native(days), "일"
    if word:
        return _WORDS[word]
    unit = unit or unit1 or unit2 or unit3
    if not _is_unit(match, unit):
        return None
    return _normalised(_native(native) if native else parse_number(sino or one or round_number), unit)


def _is_unit(match: re.Match[str], unit: str) -> bool:
    if unit == "달" and match.string.startswith("러", match.end()):  # 100달러 is money, not 100 months
        return False
    return not (unit in "회일원세배명번인" and _NOT_A_UNIT.match(match.string, match.end()))


def _normalised(value: float, unit: str) -> tuple[float, str]:
    name, factor = ("일", 1.0) if unit == "날" else UNITS[unit]
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
