"""Numbers as Word displays them in front of paragraphs, e.g. `제3조` or `②`, from the numbering part of a DOCX file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MAX_LEVELS = 9

_SYLLABLES = "가나다라마바사아자차카타파하"
_JAMO = "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ"
_KOREAN_DIGITS = "영일이삼사오육칠팔구"
_CHINESE_DIGITS = "〇一二三四五六七八九"
_NATIVE_ONES = ("", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉")
_NATIVE_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_ROMAN = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"),
          (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))  # fmt: skip


def value_of(element: _Element | None, name: str = "val") -> str | None:
    """Return an attribute of a Word element, or None if the element or the attribute is missing."""
    if element is None:
        return None
    value = element.get(f"{W}{name}")
    return None if value is None else str(value)


def _roman(n: int) -> str:
    text = ""
    for value, letters in _ROMAN:
        count, n = divmod(n, value)
        text += letters * count
    return text


def _sino_korean(n: int) -> str:
    """Return a number below 10,000 in words.

    >>> _sino_korean(21)
    '이십일'
    """
    text = ""
    for unit, name in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
        digit, n = divmod(n, unit)
        if digit:
            text += ("" if digit == 1 and name else _KOREAN_DIGITS[digit]) + name
    return text


def _letter(n: int) -> str:
    """Return a to z, then aa to zz."""
    return chr(ord("a") + (n - 1) % 26) * ((n - 1) // 26 + 1)


def _repeated(sequence: str) -> Callable[[int], str]:
    return lambda n: sequence[(n - 1) % len(sequence)] * ((n - 1) // len(sequence) + 1)


def _enclosed(first: int, last: int) -> Callable[[int], str]:
    """Return a function for a block of Unicode characters such as ① to ⑳."""
    return lambda n: chr(first + n - 1) if n <= last - first + 1 else f"({n})"


FORMATS: dict[str, Callable[[int], str]] = {
    "decimal": str,
    "decimalZero": lambda n: f"{n:02d}",
    "upperRoman": _roman,
    "lowerRoman": lambda n: _roman(n).lower(),
    "upperLetter": lambda n: _letter(n).upper(),
    "lowerLetter": _letter,
    "ganada": _repeated(_SYLLABLES),
    "chosung": _repeated(_JAMO),
    "decimalEnclosedCircle": _enclosed(0x2460, 0x2473),
    "decimalEnclosedCircleChinese": _enclosed(0x2460, 0x2473),
    "decimalEnclosedParen": _enclosed(0x2474, 0x2487),
    "decimalEnclosedFullstop": _enclosed(0x2488, 0x249B),
    "decimalFullWidth": lambda n: str(n).translate(str.maketrans("0123456789", "０１２３４５６７８９")),
    "decimalHalfWidth": str,
    "koreanDigital": lambda n: "".join(_KOREAN_DIGITS[int(d)] for d in str(n)),
    "koreanDigital2": lambda n: "".join(_CHINESE_DIGITS[int(d)] for d in str(n)),
    "koreanCounting": _sino_korean,
    "koreanLegal": lambda n: _NATIVE_TENS[n // 10 % 10] + _NATIVE_ONES[n % 10],
    "ideographDigital": lambda n: "".join(_CHINESE_DIGITS[int(d)] for d in str(n)),
    "numberInDash": lambda n: f"- {n} -",
    "none": lambda n: "",
}
"""How Word writes the numbers of each format. Formats that are not listed are written as digits."""


@dataclass
class _Level:
    start: int = 1
    number_format: str = "decimal"
    text: str = ""
    suffix: str = " "
    legal: bool = False
    restarts: bool = True


@dataclass
class Numbering:
    """The lists of a document, and how far their numbers are."""

    lists: dict[str, tuple[str, dict[int, _Level]]] = field(default_factory=dict)
    """Number of a list -> (name of its counters, levels). Lists with the same definition share counters."""
    counters: dict[str, list[int | None]] = field(default_factory=dict)
    _started: set[str] = field(default_factory=set)
    _overrides: dict[str, dict[int, int]] = field(default_factory=dict)

    def label(self, number_id: str, level: int) -> str:
        """Count a paragraph, and return its number with the space after it. Bullets become `•`."""
        if number_id not in self.lists or not 0 <= level < MAX_LEVELS:
            return ""
        name, levels = self.lists[number_id]
        counter = self.counters.setdefault(name, [None] * MAX_LEVELS)
        if number_id not in self._started:
            self._started.add(number_id)
            for at, start in self._overrides.get(number_id, {}).items():
                counter[at] = start - 1
        definition = levels.get(level, _Level())
        current = counter[level]
        counter[level] = definition.start if current is None else current + 1
        for deeper in range(level + 1, MAX_LEVELS):
            if levels.get(deeper, _Level()).restarts:
                counter[deeper] = None
        if definition.number_format == "bullet":
            return "• "
        text = re.sub(r"%([1-9])", lambda m: self._number(counter, levels, int(m[1]) - 1, definition), definition.text)
        return text + definition.suffix if text else ""

    @staticmethod
    def _number(counter: list[int | None], levels: dict[int, _Level], at: int, shown: _Level) -> str:
        level = levels.get(at, _Level())
        current = counter[at]
        number = level.start if current is None else current
        write = str if shown.legal or number < 1 else FORMATS.get(level.number_format, str)
        return write(number)


def read_numbering(root: _Element | None) -> Numbering:
    """Read the numbering part of a document."""
    numbering = Numbering()
    if root is None:
        return numbering
    abstract = {value_of(e, "abstractNumId"): _levels(e) for e in root.findall(f"{W}abstractNum")}
    for element in root.findall(f"{W}num"):
        number_id, target = value_of(element, "numId"), value_of(element.find(f"{W}abstractNumId"))
        if number_id is None or target is None:
            continue
        levels = dict(abstract.get(target, {}))
        for override in element.findall(f"{W}lvlOverride"):
            level = int(value_of(override, "ilvl") or 0)
            start = value_of(override.find(f"{W}startOverride"))
            if start is not None:
                numbering._overrides.setdefault(number_id, {})[level] = int(start)
            if (own := override.find(f"{W}lvl")) is not None:
                levels[level] = _level(own)
        numbering.lists[number_id] = (target, levels)
    return numbering


def _levels(element: _Element) -> dict[int, _Level]:
    return {int(value_of(e, "ilvl") or 0): _level(e) for e in element.findall(f"{W}lvl")}


def _level(element: _Element) -> _Level:
    suffix = value_of(element.find(f"{W}suff"))
    restart = value_of(element.find(f"{W}lvlRestart"))
    legal = element.find(f"{W}isLgl")
    number_format = element.find(f"{W}numFmt")
    if number_format is None:  # a format that older versions of Word do not know is inside an alternative
        number_format = next(element.iter(f"{W}numFmt"), None)
    return _Level(
        start=int(value_of(element.find(f"{W}start")) or 1),
        number_format=value_of(number_format) or "decimal",
        text=value_of(element.find(f"{W}lvlText")) or "",
        suffix="" if suffix == "nothing" else " ",
        legal=legal is not None and value_of(legal) not in ("0", "false", "off"),
        restarts=restart != "0",
    )
