"""Replaces personal data in Korean text by placeholders such as `[전화번호]`, by rule.

Rules run in the order of `RULES`. Each rule replaces what it finds before the next one runs, so that the digits of a
phone number are not also read as part of an account. The rules prefer to replace too much: a placeholder in place of an
order number is harmless, and a personal number in a file is not.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from insurance_rag.korean import personal_names as names
from insurance_rag.korean import personal_numbers as numbers
from insurance_rag.korean.personal_addresses import ADDRESS_PATTERNS

Accept = Callable[[re.Match[str]], bool]

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]+\s?(?:@|\(at\)|\[at\])\s?[A-Za-z0-9가-힣](?:[\w-]*[A-Za-z0-9가-힣])?(?:\s?\.\s?[A-Za-z가-힣]"
    r"[A-Za-z0-9-]*)+(?<![가-힣])",
    re.ASCII | re.IGNORECASE,
)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_PLAIN = str.maketrans(
    dict.fromkeys("‐‑‒–—―−﹣－ーㅡ～", "-")
    | dict.fromkeys("\u00a0\u3000\u2009", " ")
    | dict(zip("０１２３４５６７８９＠．（）", "0123456789@.()", strict=True))
)
"""Dashes, spaces and wide characters -> how the patterns write them."""


@dataclass(frozen=True)
class PersonalDataRule:
    """One kind of personal data, and the patterns that find it."""

    name: str
    title: str
    title_ko: str
    patterns: Sequence[tuple[re.Pattern[str], Accept]]
    """Each pattern with a check of its match. The group `keep`, if there is one, remains in the text."""

    @cached_property
    def placeholder(self) -> str:
        """The text that replaces a finding."""
        return f"[{self.title_ko}]"

    def apply(self, text: str) -> tuple[str, int]:
        """Return the text with placeholders, and the number of replacements."""
        found = 0
        for pattern, accept in self.patterns:
            pieces, end = [], 0
            for match in filter(accept, pattern.finditer(text)):
                pieces += [text[end : match.start()], match.groupdict().get("keep") or "", self.placeholder]
                end = match.end()
                found += 1
            text = "".join([*pieces, text[end:]])
        return text, found


def _always(match: re.Match[str]) -> bool:
    return True


RULES: tuple[PersonalDataRule, ...] = (
    PersonalDataRule("email", "E-mail addresses", "이메일", [(_EMAIL, _always)]),
    PersonalDataRule(
        "foreigner_number",
        "Foreigner registration numbers",
        "외국인등록번호",
        [(numbers.REGISTRATION, numbers.is_foreigner)],
    ),
    PersonalDataRule(
        "resident_number",
        "Resident registration numbers",
        "주민등록번호",
        [(numbers.REGISTRATION, numbers.is_resident), (numbers.AFTER_RESIDENT_WORD, _always)],
    ),
    PersonalDataRule("card", "Payment card numbers", "카드번호", [(numbers.CARD, numbers.is_card)]),
    PersonalDataRule(
        "mobile_phone",
        "Mobile phone numbers",
        "휴대전화번호",
        [(numbers.MOBILE, _always), (numbers.SPOKEN_MOBILE, _always)],
    ),
    PersonalDataRule("account", "Bank accounts", "계좌번호", [(numbers.ACCOUNT_AT_BANK, numbers.is_account)]),
    PersonalDataRule(
        "phone",
        "Land-line phone numbers",
        "전화번호",
        [(numbers.LAND_LINE, _always), (numbers.AFTER_PHONE_WORD, _always)],
    ),
    PersonalDataRule(
        "hyphenated_account", "Numbers in the form of accounts", "계좌번호", [(numbers.HYPHENATED, numbers.is_account)]
    ),
    PersonalDataRule("car_plate", "Car plates", "차량번호", [(numbers.CAR_PLATE, numbers.is_car_plate)]),
    PersonalDataRule("address", "Addresses", "주소", [(pattern, _always) for pattern in ADDRESS_PATTERNS]),
    PersonalDataRule("name", "Names of people", "이름", [(pattern, names.is_name) for pattern in names.NAME_PATTERNS]),
)


def normalize(text: str) -> str:
    """Return the text in NFC with plain digits and hyphens and without invisible characters.

    >>> normalize("０１０–1234")
    '010-1234'
    """
    return _INVISIBLE.sub("", unicodedata.normalize("NFC", text)).translate(_PLAIN)


def anonymize(text: str) -> tuple[str, Counter[str]]:
    """Return the text with placeholders in place of personal data, and the number of replacements per rule.

    >>> anonymize("김철수님 번호는 010-1234-5678입니다.")
    ('[이름]님 번호는 [휴대전화번호]입니다.', Counter({'mobile_phone': 1, 'name': 1}))
    """
    text = normalize(text)
    counts: Counter[str] = Counter()
    for rule in RULES:
        text, found = rule.apply(text)
        if found:
            counts[rule.name] = found
    return text, counts


def without_placeholders(text: str) -> str:
    """Return the text without placeholders, for a search or a comparison.

    >>> without_placeholders("[이름]님 번호는 [휴대전화번호]입니다.")
    '님 번호는 입니다.'
    """
    return _PLACEHOLDER.sub("", text)


_PLACEHOLDER = re.compile("|".join(sorted({re.escape(rule.placeholder) for rule in RULES})))
