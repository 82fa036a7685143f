"""Guess the product, the insurer and the kind of insurance from the text of a document."""

from __future__ import annotations

import re
from collections.abc import Sequence

from insurance_rag.ingest.headings import PRELUDES, appendix_heading, article_heading, division_heading, part_heading
from insurance_rag.ingest.paragraphs import Paragraph

FIRST_PARAGRAPHS = 60
"""The title is searched for in this many paragraphs."""

_POLICY_WORDS = re.compile(
    r"\s*(?:보통\s?(?:보험\s?)?약관|특별\s?약관|주계약|주\s?보험|보험\s?약관(?=$)|약관|상품\s?설명서|상품\s?요약서)\s*$"
)
_PRODUCT_WORD = re.compile(r"보험|공제|플랜|케어|보장")
_COMPANY = re.compile(
    r"(?<![가-힣A-Za-z])(?:주식회사\s?|\(주\)\s?|㈜\s?)?"
    r"([가-힣A-Za-z]{2,12}?(?:화재해상보험|손해보험|생명보험|화재보험|해상화재보험|해상보험|화재|생명|손보|해상|라이프|공제회))(?![가-힣]*법)"
)
_NOT_COMPANY = re.compile(
    r"^(?:이|그|본|당|각|일반|해당|다른|국내|외국|장기|타|상기|민영|인|대한)?(?:손해보험|생명보험|화재보험|해상보험|화재|생명|해상)$"
)
_VERSION = re.compile(
    r"[\s_(\[\-]*(?:(?:20)?\d{2}[.\-/년]?\s?(?:0[1-9]|1[0-2])월?(?:[.\-/]?\s?\d{1,2}일?)?|20\d{2}|[vV]\d{1,3})[)\]]*$"
)
_TYPE = re.compile(r"[가-힣]+(?:보험|공제)")
_DECORATION = re.compile(r"^(?:무배당|유배당|\(무\)|다이렉트|온라인|인터넷|갱신형|비갱신형)")


def product_of_part(title: str) -> str:
    """Return the product in the name of a part: `○○ 암보험` of `○○ 암보험 보통약관`; empty if it names none.

    >>> product_of_part("한빛 든든 암보험 보통약관"), product_of_part("보통약관")
    ('한빛 든든 암보험', '')
    """
    name = strip_version(strip_policy_words(title))
    return name if len(name) >= 4 and _PRODUCT_WORD.search(name) else ""


def strip_version(name: str) -> str:
    """Return a name without the year and month of an edition at its end, because a new edition is the same product.

    >>> strip_version("가온 운전자보험(2504)"), strip_version("가온 운전자보험 2025.04.01"), strip_version("pet_v2")
    ('가온 운전자보험', '가온 운전자보험', 'pet')
    """
    return _VERSION.sub("", name).strip() or name


def strip_policy_words(title: str) -> str:
    """Return the title without `보통약관` and the like at its end, and without brackets around it."""
    name = title.strip(" \t『』「」【】[]<>〈〉《》")
    while (shorter := _POLICY_WORDS.sub("", name)) != name:
        name = shorter
    return name.strip()


def find_title(paragraphs: Sequence[Paragraph]) -> str:
    """Return the product in the title of a document: the largest line at the beginning that names an insurance."""
    best, best_rank = "", 0.0
    for i, paragraph in enumerate(paragraphs[:FIRST_PARAGRAPHS]):
        if article_heading(paragraph, i) or division_heading(paragraph):
            break
        if not _may_be_title(paragraph):
            continue
        name = product_of_part(paragraph.text)
        rank = paragraph.size + (100 - paragraph.level if paragraph.level else 0)
        if name and (not best or rank > best_rank):
            best, best_rank = name, rank
    return best


def _may_be_title(paragraph: Paragraph) -> bool:
    text = paragraph.text
    if (
        paragraph.is_table
        or len(text) > 60
        or text[-1] in ".,:;"
        or PRELUDES.match(text)
        or appendix_heading(paragraph)
    ):
        return False
    part = part_heading(paragraph)
    return part is None or not re.search(r"특별\s?약관|추가\s?약관|특약", part.title)


def find_company(paragraphs: Sequence[Paragraph], removed: Sequence[str]) -> str:
    """Return the insurer that the document names most often; empty if it names none."""
    counts: dict[str, int] = {}
    for text in (*removed, *(paragraph.text for paragraph in paragraphs)):
        for found in _COMPANY.findall(text):
            if not _NOT_COMPANY.match(found):
                counts[found] = counts.get(found, 0) + 1
    return max(counts, key=lambda name: counts[name], default="") if counts else ""


def policy_type_of(product: str) -> str:
    """Return the kind of insurance in a product's name, e.g. `암보험`; `보험` if it names none.

    >>> policy_type_of("무배당 한빛 든든암보험(갱신형)")
    '암보험'
    """
    words = _TYPE.findall(re.sub(r"\([^)]*\)", " ", product))
    if not words:
        return "보험"
    last = words[-1]
    known = next((kind for kind in KINDS if last.endswith(kind)), None)
    return known or _DECORATION.sub("", last) or last


KINDS = (
    "반려동물보험", "펫보험", "실손의료보험", "실손보험", "업무용자동차보험", "개인용자동차보험", "이륜자동차보험",
    "자동차보험", "운전자보험", "여행자보험", "유학생보험", "어린이보험", "자녀보험", "태아보험",
    "치아보험", "치매보험", "간병보험", "암보험", "건강보험", "상해보험", "질병보험",
    "종신보험", "정기보험", "연금저축보험", "연금보험", "저축보험", "변액보험", "화재보험",
    "재물보험", "배상책임보험", "골프보험", "레저보험", "보증보험", "단체보험", "의료보험",
    "간편보험", "생활보험", "종합보험",
)  # fmt: skip
"""Kinds of insurance with which a product's name may end, the longer ones first."""
