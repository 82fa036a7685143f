"""Patterns and checks for personal numbers: registration, cards, phones, bank accounts and car plates."""

from __future__ import annotations

import re

_START, _END = r"(?<![\d.])(?<!\d[-,])", r"(?![\d%])(?!-\d)"
_GAP = r"\s{0,2}[-_./·]?\s{0,2}"
"""What people write between the groups of a number."""

# ---- resident and foreigner registration numbers

REGISTRATION = re.compile(
    rf"(?<!\d)(?P<date>\d{{2}}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])){_GAP}(?P<century>[0-9])"
    r"(?P<rest>\s?\d{6}|[*xX●•○]{6}|\d{1,5}[*xX●•○]{1,5}|[*xX●•○]{3,6})(?!\d)"
)
AFTER_RESIDENT_WORD = re.compile(
    rf"(?P<keep>(?:주민|외국인)\s?(?:등록)?\s?번호?\D{{0,12}}?)(?<!\d)\d{{6}}(?:{_GAP}|\s?[,/]?\s?뒷?\s?자리\D{{0,4}})\d{{7}}(?!\d)"
)
_FOREIGN_CENTURIES = "5678"


def is_foreigner(match: re.Match[str]) -> bool:
    """Return whether the first digit of the second half is one that only foreigners have."""
    return match["century"] in _FOREIGN_CENTURIES and _is_registration(match)


def is_resident(match: re.Match[str]) -> bool:
    """Return whether the number can be a resident registration number."""
    return match["century"] not in _FOREIGN_CENTURIES and _is_registration(match)


def _is_registration(match: re.Match[str]) -> bool:
    """Return whether the month has the day. The check digit says nothing: numbers since October 2020 have none."""
    month, day = int(match["date"][2:4]), int(match["date"][4:6])
    return day <= (29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31)


# ---- payment cards

CARD = re.compile(rf"{_START}(?:\d{{4}}(?:{_GAP}\d{{4}}){{3}}|\d{{4}}{_GAP}\d{{6}}{_GAP}\d{{4,5}}|\d{{13,19}}){_END}")
CONTEXT = 20
"""Number of characters next to a number in which a word such as 카드 counts."""


def is_card(match: re.Match[str]) -> bool:
    """Return whether the digits pass the Luhn check, or the word 카드 is next to them."""
    digits = re.sub(r"\D", "", match[0])
    return passes_luhn(digits) or "카드" in _around(match)


def passes_luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of a card number. False for anything but digits.

    >>> passes_luhn("4111111111111111"), passes_luhn("4111111111111112")
    (True, False)
    """
    if not digits.isdecimal():
        return False
    doubled = [int(d) * (1 + n % 2) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


# ---- phones

_COUNTRY = r"(?:(?:\+|00)?\s?82\)?[-.\s]{0,2}\(?0?\)?|\(?0)"
_AFTER_AREA = r"\)?[-_./·\s]{0,3}"
MOBILE = re.compile(rf"(?<!\d)(?<!\d-){_COUNTRY}1[016789]{_AFTER_AREA}\d{{3,4}}{_GAP}(?:\d{{4}}|\*{{4}})(?!\d)")
_SPOKEN = "공영일이삼사오육륙칠팔구"
SPOKEN_MOBILE = re.compile(rf"(?<![가-힣])[공영]\s?일\s?[공영](?:[\s,-]{{0,2}}[{_SPOKEN}\d]){{7,8}}(?![{_SPOKEN}\d])")
_AREA = r"(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|50\d?|80)"
LAND_LINE = re.compile(rf"(?<!\d)(?<!\d-){_COUNTRY}{_AREA}{_AFTER_AREA}\d{{3,4}}{_GAP}\d{{4}}(?!\d)")
AFTER_PHONE_WORD = re.compile(
    r"(?P<keep>(?:전화|연락처|휴대폰|핸드폰|폰|팩스|내선|번호)\s?(?:번호)?\s?(?:은|는|이|로)?\s?[:：]?\s?)"
    r"(?<!\d)[2-9]\d{2,3}[-.\s]\d{4}(?![\d-])"
)

# ---- bank accounts

_BANK = (
    r"(?:계좌|통장|은행|농협|축협|수협|신협|국민|신한|우리|하나|기업|카카오|케이뱅크|K뱅크|토스|새마을금고|우체국|제일|씨티|산업|"
    r"대구|부산|경남|광주|전북|제주|KB|NH|IBK|SC|KEB|예금주|입금|송금|이체)"
)
_ACCOUNT = r"\d{2,6}(?:[-\s]\d{1,8}){1,4}|\d{10,16}"
ACCOUNT_AT_BANK = re.compile(
    rf"(?P<keep>{_BANK}[^\d\n]{{0,{CONTEXT}}})(?<![\d.])(?:{_ACCOUNT})(?![\d%])(?!-\d)"
    rf"|(?<![\d.])(?<!\d-)(?:{_ACCOUNT})(?![\d%])(?!-\d)(?=\s?[(,]?\s?{_BANK})"
)
HYPHENATED = re.compile(r"(?<![\d.A-Za-z-])\d{2,6}(?:-\d{1,8}){2,4}(?![\d%A-Za-z])(?!-\d)")
_ID_WORD = re.compile(
    r"(?:접수|사고|청구|증권|계약|상품|심의필?|감시필|사건|문서|주문|고객|관리|등록|승인|사업자\s?등록|법인)\s?(?:번호|코드|필)?\D{0,6}$|제\s?$"
)
_DATE = re.compile(r"(?:19|20)\d\d[-\s](?:0?[1-9]|1[0-2])[-\s](?:0?[1-9]|[12]\d|3[01])(?!\d)")
_MAX_ACCOUNT, _MIN_ACCOUNT = 16, 10


def is_account(match: re.Match[str]) -> bool:
    """Return whether the number has as many digits as an account, and is not named as the number of something else."""
    number = match[0][len(match.groupdict().get("keep") or "") :]
    if _DATE.match(number):
        return False
    n = sum(c.isdigit() for c in number)
    before = match.string[max(0, match.end() - len(number) - CONTEXT) : match.end() - len(number)]
    return _MIN_ACCOUNT <= n <= _MAX_ACCOUNT and not _ID_WORD.search(before)


# ---- car plates

_PLATE_LETTERS = "가나다라마거너더러머버서어저고노도로모보소오조구누두루무부수우주아바사자배하허호국합육해공"
_UNIT_LETTERS = frozenset("조호주부도구자무보사수오로다")
_REGION = r"(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주)"
CAR_PLATE = re.compile(
    rf"(?<![\d제,.])(?P<region>{_REGION}\s?)?\d{{2,3}}(?P<before>\s?)(?P<letter>[{_PLATE_LETTERS}])(?P<after>\s?)"
    r"(?:\d{4}|\d{2}\*\*)(?![\d년원만억천백조%개회일명세]|[,.]\d)"
)
_CAR_WORD = re.compile(r"차|번호판|주차|오토바이|이륜|렌트|택시|운전|번호")


def is_car_plate(match: re.Match[str]) -> bool:
    """Return whether a match is a plate. If its letter is also a unit (12조 3456), a space needs a word for a car."""
    if re.search(r"제\s?$", match.string[max(0, match.start() - 2) : match.start()]):
        return False
    is_unit = match["letter"] in _UNIT_LETTERS and (match["after"] or match["before"])
    return bool(not is_unit or match["region"] or _CAR_WORD.search(_around(match)))


def _around(match: re.Match[str]) -> str:
    """Return the text next to a match, without the match."""
    text, start, end = match.string, match.start(), match.end()
    return text[max(0, start - CONTEXT) : start] + text[end : end + CONTEXT]
