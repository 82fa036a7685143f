"""Maps words to a common form, so that plain wording and policy wording can be compared, such as 돈 and 보험금.

The groups are general Korean and the vocabulary of insurance contracts, not the words of particular policies.
"""

from __future__ import annotations

from typing import NamedTuple

from insurance_rag.korean.predicates import Predicate

# Each line is one group; the first word is the name of the group.
_SYNONYMS = """
    청약 가입 신청 들
    휴대전화 휴대폰 핸드폰
    이륜차 오토바이 이륜 이륜자동차
    안전모 헬멧
    보험금 돈
    통지 알리 통보 고지 알려주
    수령 받
    부상 다치
    사망 죽 숨지
    진단 진단서
    의료기관 병원
    착용 쓰
    비율 지급률 퍼센트
    중지 멈추
    부활 되살리 되살려
    연체 밀리
    철회 무르 거두 물리
    수리 고치
    어머니 어머님
    배우자 남편 아내
    친족 친척
    기간 동안
    이내 안
    골절 부러지 뼈
    절제 떼 자르
    합의 합의금
    동의 허락 승낙 승인
    제출 내
    바꾸 변경 교체
    손해 피해
"""
# Predicates with the same meaning. Words after the bar mean the opposite.
_CONCEPTS = """
    pay 지급 보상 보장 받 주 드리 나오 나가 돌려주 돌려받 돌리 반환 환급 지원 물 수령 보험금 | 면책
    include 포함 들어가 | 제외 빠지
    count_as 해당 속하 보 인정 취급
    apply 적용 따르 의하 처리
    terminate 해지 해약 끝내
    continue 유지 이어지 계속 지속 존속 살 | 없어지 소멸 상실 잃
    premium 납입 내 납부 | 면제
    reduce 감액 줄 줄이 줄어들 깎 깎이 빼 공제 차감 떼 삭감 적어지 | 전액
    possible 가능 되
    valid 유효 | 무효
    need 필요 요하
    raise 늘 늘어나 증가 인상 | 줄어들 감소
"""


def _groups(table: str) -> dict[str, str]:
    return {word: line.split()[0] for line in table.strip().splitlines() for word in line.split()}


SYNONYMS = _groups(_SYNONYMS)


def _concepts() -> dict[str, tuple[str, bool]]:
    found: dict[str, tuple[str, bool]] = {}
    for line in _CONCEPTS.strip().splitlines():
        same, _, opposite = line.strip().partition("|")
        name, *words = same.split()
        for word in words:
            found.setdefault(word, (name, True))
        for word in opposite.split():
            found.setdefault(word, (name, False))
    return found


CONCEPTS = _concepts()


class Meaning(NamedTuple):
    """What a predicate means: a concept, and whether it is affirmed."""

    concept: str
    affirmed: bool


def meaning(predicate: Predicate) -> Meaning:
    """Return the meaning of a predicate. 제외하지 않다 and 포함하다 mean the same.

    >>> from insurance_rag.korean.morphemes import morphemes
    >>> from insurance_rag.korean.predicates import predicates
    >>> [meaning(predicates(morphemes(text))[-1]) for text in ("포함합니다.", "제외하지 않습니다.")]
    [Meaning(concept='include', affirmed=True), Meaning(concept='include', affirmed=True)]
    """
    concept, positive = CONCEPTS.get(predicate.lemma, (predicate.lemma, True))
    return Meaning(concept, positive != predicate.negated)


def canonical(word: str) -> str:
    """Return the name of the word's synonym group, or the word itself."""
    return SYNONYMS.get(word, word)
