"""The stance of a statement: what its predicate affirms or denies.

Policies say the same thing with many verbs: `지급하지 않습니다`, `면책입니다` and `제외됩니다` all deny a benefit. A
table maps the lemma of a predicate to an axis and a sign, and negation turns the sign. Two statements can contradict
each other only on the same axis. A lemma that is not in the table is an axis of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from insurance_rag.korean import sentences
from insurance_rag.korean.predicates import Predicate
from insurance_rag.korean.statements import Statement, analyze

_AXES: dict[tuple[str, int], str] = {
    (
        "benefit",
        +1,
    ): "지급 보상 보장 받 나오 나가 주 드리 돌려주 돌려드리 돌려받 돌리 물어주 물 환급 반환 배상 인정 해당 "
    "포함 속하 들어가 가능 되 승낙 적용 제공 받아들이 괜찮 맞 대상 사유 보호 보 치 가입 상관없 허용 타 전액 전부",
    ("benefit", -1): "제외 면책 거절 거부 불가 불가능 밖 빠지 제한 금지 틀리",
    ("charge", +1): "내 납입 부담 제출",
    ("charge", -1): "면제",
    ("cut", +1): "감액 삭감 깎이 깎 줄이 줄 줄어들 빼 공제 차감 덜",
    ("duration", +1): "유지 이어지 지속 계속 살 남",
    ("duration", -1): "소멸 없어지 사라지 끝나 중단 실효 상실 종료 끊기 끊",
    ("withdraw", +1): "철회 무르 물리 취소",
}
SHARED_AXES = frozenset(axis for axis, _ in _AXES)
"""Axes with several predicates. Every other axis has one."""
_STANCES = {lemma: (axis, sign) for (axis, sign), lemmas in _AXES.items() for lemma in lemmas.split()}

_LIGHT_NOUNS = frozenset(["사유", "대상", "경우", "손해", "해당", "항목", "것", "속하", "들어가"])
_SCOPE = re.compile("곧바로|바로|즉시|자동으로|저절로|전부|전액|모두|그대로|언제나|반드시|너무")
"""With one of these words, a negation denies only a part: `전액을 지급하지는 않습니다` does not deny the benefit."""
_SAME_SCOPE = tuple(
    tuple(group.split("/"))
    for group in ["곧바로/바로/즉시", "자동으로/저절로/당연히", "전부/전액/모두", "그대로", "언제나/반드시", "너무"]
)
_EXCEEDS = re.compile("넘|초과|벗어|웃돌|이상은")
_COURTESY = frozenset(["말씀", "위로", "안내", "답변", "걱정"])
_DENIED_NOUN = re.compile(
    r"(?:면책|제외|부담보|(?:보상|지급|보장|인정)(?:하|되)?지\s?(?:않는|아니하는))\s?(?:사유|대상|경우|손해|항목|것|사항|의료비|비용)"
)
_YES = re.compile(
    r"^\s*(?:네|예|넵|그렇습니다|그래요|맞습니다|맞아요|물론(?:이|입|이죠)?\S*|그럼요?|당연\S+)(?=[\s,.!]|$)"
)
_NO = re.compile(
    r"^\s*(?:아니요|아니오|아뇨|아닙니다|아니에요|아니예요|그렇지\s?않|괜찮지\s?않|(?:그러시면\s?)?안\s?(?:됩니다|돼요))"
)
_REGRET = re.compile(r"^\s*(?:아쉽|안타깝|유감|죄송)[가-힣]*\s")
_HEDGED = re.compile(r"전부|전액|모두|(?<![가-힣])다\s|그대로|더\s|덜\s|절반|똑같|동일|같은|같이")
_ONLY = re.compile("에만|경우만|분만|사람만|한하여|한정하여")
"""`50만원 이상인 계약에만 허용됩니다` says neither yes nor no."""
_PAYS = frozenset(["지급", "보상", "보장", "받", "나오", "주", "드리"])
_REASONS = frozenset(
    ["지만", "으나", "는데", "은데", "ᆫ데", "므로", "으므로", "니", "으니", "니까", "으니까", "아서", "어서", "라서"]
)
"""Connective endings of a reason or a concession. The conclusion follows in the next statement."""
_LIGHT = frozenset(["있", "없", "되", "하", "괜찮", "가능", "기간", "보험", "것"])
_WH = re.compile(
    r"얼마(?!\s?전)|언제|무엇|무슨|어떤|어떻게|어떠|몇\s?(?:[%㎞]|[가-힣])(?!\s?년간)|누구|누가|어디|왜|뭐|뭘|뭔|며칠|어느|무얼|까닭|차이|뜻|알려\s?주세|설명해"
)


class Stance(NamedTuple):
    """What a predicate affirms (sign +1) or denies (sign -1)."""

    axis: str
    sign: int


def stance_of(predicate: Predicate | None) -> Stance | None:
    """Return the stance of a predicate, or None without a predicate."""
    if predicate is None:
        return None
    axis, sign = _STANCES.get(predicate.lemma, (predicate.lemma, 1))
    return Stance(axis, -sign if predicate.negated else sign)


def names_benefit(lemma: str) -> bool:
    """Return whether a lemma only names a benefit or its denial, such as 지급, 대상 and 제외."""
    return _STANCES.get(lemma, ("", 0))[0] == "benefit"


def begins_with_verdict(text: str) -> bool:
    """Return whether a text begins with yes or no, or with a word of regret such as 아쉽지만."""
    return said_yes_or_no(text) != 0 or _REGRET.search(text) is not None


def said_yes_or_no(text: str) -> int:
    """Return +1 if the text begins with a yes, -1 if it begins with a no, and 0 otherwise."""
    return 1 if _YES.search(text) else -1 if _NO.search(text) else 0


_ASIDE = re.compile(r"\s*(?:다만|단,|참고로|하지만|그래도|그러나|반면|대신|한편|그 밖|그밖)")


def is_aside(text: str) -> bool:
    """Return whether a sentence begins as an exception or a neighboring fact: 다만, 참고로."""
    return _ASIDE.match(text) is not None


def main_text(answer: str) -> str:
    """Return an answer without its sentences that begin as exceptions or neighboring facts."""
    return " ".join(s.text for s in sentences(answer) if not is_aside(s.text))


def verdict(text: str, question: str) -> int:
    """Return +1 if the text answers the question with yes, -1 with no, and 0 if it does neither or cannot be read.

    The text answers with yes or no if it begins with such a word. Otherwise, the first
    conclusion of its first sentence on the axis of the question decides.
    """
    if explicit := said_yes_or_no(text):
        return explicit
    wanted = _asked(question)
    if wanted is None:
        return 0
    if _REGRET.search(text) and wanted.axis == "benefit" and "적용" not in question:
        return -wanted.sign
    first = [
        (s, own)
        for s, own in statements_with_stance(text, question)
        if s.sentence == 0 and not (own.sign > 0 and _ONLY.search(s.text))
    ]
    same = [(s, own) for s, own in first if own.axis == wanted.axis]
    if not same and wanted.axis not in SHARED_AXES:
        same = [(s, own) for s, own in first if s.predicate and s.predicate.lemma in _PAYS]
    conclusions = [own for s, own in same if s.predicate is None or s.predicate.connective not in _REASONS]
    found = next(iter(conclusions), None)
    return found.sign * wanted.sign if found else 0


def _asked(question: str) -> Stance | None:
    """Return what a yes-no question asks for, or None if it cannot be answered with yes or no.

    A question such as `전부 받을 수 있나요?` has no stance either, because `절반을 받습니다` answers it with no.
    """
    last = _last_sentence(question)
    asked = analyze(last)
    if not asked or _WH.search(last) or _HEDGED.search(last):
        return None
    found = [p for p in asked[-1].predicates if p.lemma not in _LIGHT] or asked[-1].predicates
    stances = [own for p in found if (own := stance_of(p))]
    specific = [own for own in stances if own.axis in SHARED_AXES - {"benefit"}]
    return next(reversed(specific or stances), None)


def _last_sentence(text: str) -> str:
    return re.split(r"(?<=[.?!])\s+", text.strip())[-1]


def statements_with_stance(text: str, other: str = "") -> list[tuple[Statement, Stance]]:
    """Return the statements of a text that have a predicate, each with its stance."""
    return [(s, own) for s in analyze(text) if (own := stance(s, other))]


def stance(statement: Statement, other: str = "") -> Stance | None:
    """Return the stance of a statement's main predicate.

    A negation that denies only a part, such as `전액을 지급하지는 않습니다`, has no stance, unless the text `other`,
    with which the statement is compared, has that part too. A light noun takes the stance of the words before it:
    `면책 사유입니다` and `보상하지 않는 손해에 해당합니다` deny.
    """
    own = stance_of(statement.predicate)
    if own is None or statement.predicate is None or _COURTESY & statement.lemmas:
        return None
    scope = _SCOPE.search(statement.text) if statement.negated else None
    if scope and not any(word in other for group in _SAME_SCOPE for word in group if scope.group() in group):
        return None
    if statement.negated and any(
        p.negated and p.ending != "final" and p.lemma in _affirmed_lemmas(other)
        for p in statement.predicates
        if p is not statement.predicate
    ):
        return None  # 3촌이 아닌 분은 될 수 없습니다
    if statement.negated and statement.quantities and _EXCEEDS.search(statement.text):
        return None  # 150만원을 넘겨서는 보상하지 않습니다
    if statement.predicate.lemma == "빠지" and statement.quantities:
        return Stance("cut", own.sign)
    if statement.predicate.lemma == "되" and statement.predicate.ending != "final":
        return None
    if statement.predicate.lemma not in _LIGHT_NOUNS:
        return own
    return Stance(own.axis, -own.sign) if _DENIED_NOUN.search(statement.text) else own


@lru_cache(2_000)
def _affirmed_lemmas(text: str) -> frozenset[str]:
    return frozenset(p.lemma for s in analyze(text) for p in s.predicates if not p.negated)
