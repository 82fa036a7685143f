"""Patterns for Korean addresses, by road name or lot number, as far as rules find them.

>>> [bool(pattern.search("서울시 강남구 테헤란로 152")) for pattern in ADDRESS_PATTERNS].count(True) > 0
True
"""

from __future__ import annotations

import re

_PROVINCE = (
    r"(?:서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충청?[북남]|전라?[북남]|경상?[북남]|제주)"
    r"(?:특별자치시|특별자치도|특별시|광역시|도|시)?"
)
_DISTRICT = r"[가-힣]{1,5}(?:시|군|구)"
_TOWN = r"(?:[가-힣]{1,6}\d{0,2}|[가-힣]{1,4}\s?제\d)(?:동|읍|면|리|가)"
_NUMBER = r"(?:산\s?)?\d{1,5}(?:-\d{1,4})?(?:\s?번지)?"
_ROAD = r"[가-힣]{1,8}(?:\d{1,3}(?:번)?|\d{1,3}가)?(?:대로|로|길)(?:\s?\d{1,4}(?:번|[가-하])?길)?"
_BUILDING = (
    r"(?:[,\s]{1,2}\(?[가-힣A-Za-z0-9]{1,15}(?:아파트|빌라|빌딩|타워|오피스텔|맨션|주택|연립|단지|APT|apt)\)?)?"
    r"(?:[,\s]{0,2}(?:[A-Za-z가-하]|\d{1,4})\s?동(?=[\s,]*\d))?(?:[,\s]{0,2}(?:지하\s?|B)?\d{1,3}\s?층)?"
    r"(?:[,\s]{0,2}\d{1,4}\s?호)?(?:\s?\([가-힣0-9]{1,10}[동읍면리가](?:,\s?[^()\n]{1,20})?\))?"
)
_AREA = rf"(?:{_PROVINCE}\s?(?:{_DISTRICT}\s?){{0,2}}|(?:{_DISTRICT}\s){{1,2}})"
_NO_UNIT = r"(?!\d|가\s?\d|\s?(?:일|년|개월|회|만|억|천|원|%|급|세|명|차|번째|대|주|시간|분|건|조|항|배|등))"
_LIVES = r"(?:주소|자택|거주지|배송지|사는\s?곳|집)(?:는|은|가|이)?\s?[:：]?\s?"

ADDRESS_PATTERNS: tuple[re.Pattern[str], ...] = (
    # A region with a road and number, with a town and lot number, or with a district and a town.
    re.compile(rf"(?<![가-힣]){_AREA}(?:{_TOWN}\s?)?{_ROAD}\s?{_NUMBER}{_NO_UNIT}{_BUILDING}"),
    re.compile(rf"(?<![가-힣]){_AREA}{_TOWN}(?:\s?{_TOWN})?\s?{_NUMBER}{_NO_UNIT}{_BUILDING}"),
    re.compile(rf"(?<![가-힣]){_PROVINCE}\s(?:{_DISTRICT}\s){{1,2}}{_TOWN}(?:\s{_TOWN})?(?![가-힣]{{4}}){_BUILDING}"),
    # A road and number without a region: only with a word for home, or with a side street or a flat behind it.
    re.compile(rf"(?P<keep>{_LIVES})(?:{_ROAD}|{_TOWN})\s?{_NUMBER}{_NO_UNIT}{_BUILDING}"),
    re.compile(rf"(?<![가-힣]){_ROAD}\s?{_NUMBER}(?:[,\s]{{1,2}}\d{{1,4}}\s?동)?[,\s]{{1,2}}\d{{1,4}}\s?호"),
    re.compile(rf"(?<![가-힣])[가-힣]{{1,8}}(?:로|길)\s?\d{{1,4}}(?:번|[가-하])길\s?{_NUMBER}{_NO_UNIT}{_BUILDING}"),
    re.compile(rf"(?<![가-힣]){_TOWN}\s\d{{1,5}}(?:-\d{{1,4}})?\s?번지{_BUILDING}"),
    # A flat: `한빛아파트 101동 1203호`, `101동 1203호`.
    re.compile(
        r"(?:[가-힣A-Za-z0-9]{1,12}(?:아파트|빌라|오피스텔|타운|단지)?\s)?(?<!제)\b\d{1,4}\s?동[,\s]{0,2}\d{2,4}\s?호"
    ),
)
