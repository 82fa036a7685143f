"""Finds a quote in a text, although whitespace, punctuation, character width or particles differ."""

from __future__ import annotations

import re
import unicodedata

# Particles of one class have the same role, or differ only in emphasis. A particle of another class changes who does
# what: `회사가 계약자에게` and `회사에게 계약자가` must not match.
_PARTICLES = (
    ("은", "는", "이", "가"),
    ("을", "를"),
    ("에", "에는", "에도", "에서", "에서는"),
    ("에게", "에게는", "께"),
    ("로", "으로", "로는", "으로는"),
    ("와", "과"),
    ("의",),
)
_CLASS_OF = {particle: group for group in _PARTICLES for particle in group}
_PARTICLE = re.compile(f"(?<=[가-힣]{{2}})(?:{'|'.join(sorted(_CLASS_OF, key=len, reverse=True))})$")
_MISSING_PARTICLE = "(?:은|는|이|가|을|를|의|에)?+"
# Everything but letters, digits, percent signs, and the points and range signs between digits. Without the latter two,
# 4.5% and 45% would be equal, and so would 3~5일 and 35일.
_IGNORED = re.compile(r"(?<!\d)[.~]|[.~](?!\d)|[^\w%.~]|_")
_DIGIT_COMMA = re.compile(r"(?<=\d),(?=\d{3})")
_RANGE = re.compile(r"\s*[~∼〜]\s*")
_SPACE = re.compile(r"(?<!\d)\s+|\s+(?!\d)")


def letters(text: str) -> str:
    """Return the text without whitespace and punctuation, in Unicode normal form KC and in lower case.

    One space remains between two numbers.

    >>> letters("'암진단급여금' ３，０００만 원의 4.5％ ")
    '암진단급여금3000만원의4.5%'
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    folded = _RANGE.sub("~", folded)
    words = " ".join(_IGNORED.sub(" ", _DIGIT_COMMA.sub("", folded)).split())
    return _SPACE.sub("", words)


def contains_quote(context: str, quote: str) -> bool:
    """Return whether the context contains the quote.

    Whitespace, punctuation, quotation marks and full-width characters are ignored. A particle may be missing, or
    replaced by a particle of the same role. All other characters must be equal. A quote cannot start or end within a
    number.

    >>> contains_quote("회사는 진단이 확정된 때에는 3,000만원을 지급합니다.", "진단 확정된 때에 지급합니다")
    False
    >>> contains_quote("회사는 진단이 확정된 때에는 3,000만원을 지급합니다.", "진단 확정된 때에 3,000만 원을 지급")
    True
    """
    wanted, text = letters(quote), letters(context)
    if not 0 < len(wanted) <= len(text):
        return False
    before = r"(?<![\d.])" if wanted[0].isdigit() else ""
    after = r"(?!\d)" if wanted[-1].isdigit() else ""
    patterns = (re.escape(wanted), _tolerant_pattern(quote))
    return any(re.search(f"{before}(?:{pattern}){after}", text) for pattern in patterns)


def _tolerant_pattern(quote: str) -> str:
    """Return a pattern for the quote's letters in which the particle at the end of each word is optional.

    The possessive quantifiers (?+) keep the search time linear, even if the texts are loops of one particle.
    """
    parts = list[str]()
    for word in map(letters, quote.split()):
        found = _PARTICLE.search(word)
        if found:
            options = "|".join(sorted(_CLASS_OF[found.group()], key=len, reverse=True))
            parts.append(f"{re.escape(word[: found.start()])}(?:{options})?+")
        elif word:
            parts.append(re.escape(word) + (_MISSING_PARTICLE if "가" <= word[-1] <= "힣" else ""))
    return " ?+".join(parts)
