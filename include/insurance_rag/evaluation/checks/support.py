"""Checks for sentences that share too few words with the context."""

from __future__ import annotations

import re
from collections.abc import Iterator

from insurance_rag import korean
from insurance_rag.evaluation.checks.registry import CheckedAnswer, check
from insurance_rag.korean.morphemes import MAX_LINE, morphemes

_WORD = re.compile(r"[가-힣A-Za-z]{2,}")

MIN_BIGRAMS = 6
"""Sentences with fewer distinct bigrams are not checked, because a few bigrams are not conclusive."""
MIN_UNKNOWN_NOUNS = 4
"""A sentence with fewer nouns that are neither in the context nor in the question is not reported. It may say the same
in plain words."""
MAX_NOUN_SUPPORT = 0.5
"""A sentence with a larger fraction of known nouns is not reported."""

# Nouns of everyday language. An answer may use them to explain a policy in plain words.
_EVERYDAY = """
    돈 때문 안 밖 곳 데 날 날짜 때 확인 문의 대신 그동안 나중 원래 자리 까닭 이유 혼자 정확 고객 고객님 센터
    가능 기준 의사 걱정 죄송 수령 가입 신청 사람 분 본인 일 말 말씀 말뜻 뜻 안내 설명 참고 처음 다음 마지막 이번
    지금 오늘 하나 둘 셋 모두 전부 전체 조금 정도 만큼 사이 동안 앞 뒤 위 아래 중간 끝 시작 방법 경우 상황 문제
    생각 마음 부분 사항 점 쪽 그대로 이상 병원 약국 선생님 가족 어머니 아버지 아들 딸 남편 아내 부모 자녀 친척
    집 회사 상품 보험 약관 조항 규정 내용 질문 답변 달력 해 달 주 하루 대상 해당 범위 이전 이후 도움 다행 안심
    아쉬움 예 예시 가령 실제 최대 최소 최고 최저 적용 제외 포함
"""
_EVERYDAY_NOUNS = frozenset(_EVERYDAY.split())
_NOUN_TAGS = frozenset(["NNG", "NNP", "XR", "SL", "SH"])


@check(
    "unsupported",
    title="Unsupported sentence",
    title_ko="근거 없는 문장",
    description="A sentence shares too few character bigrams and nouns with the context and question. Refusals are not "
    "checked.",
    order=80,
)
def find_unsupported_sentences(answer: CheckedAnswer) -> Iterator[str]:
    """Yield every sentence that shares too few of its bigrams and nouns with the context and the question.

    The minimum fraction of bigrams is `answer.min_support`.
    """
    if answer.refusal == "full":
        return
    known = f"{answer.context}\n{answer.question}"
    known_bigrams = _bigrams(known)
    for sentence in korean.sentences(answer.text):
        bigrams = _bigrams(sentence.text)
        if len(bigrams) < MIN_BIGRAMS or korean.is_refusal_sentence(sentence.text):
            continue
        if len(bigrams & known_bigrams) < answer.min_support * len(bigrams) and _has_unknown_nouns(
            sentence.text, known
        ):
            yield sentence.text


def _has_unknown_nouns(sentence: str, known: str) -> bool:
    nouns = {m.form for m in morphemes(sentence[:MAX_LINE]) if m.tag in _NOUN_TAGS} - _EVERYDAY_NOUNS
    unknown = {noun for noun in nouns if noun not in known}
    return len(unknown) >= MIN_UNKNOWN_NOUNS and len(unknown) > (1 - MAX_NOUN_SUPPORT) * len(nouns)


def _bigrams(text: str) -> set[str]:
    return {word[i : i + 2] for word in _WORD.findall(text) for i in range(len(word) - 1)}
