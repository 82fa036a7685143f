"""Detects refusals and evasions: answers that say that the policy does not state what the question asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from insurance_rag.korean.sentences import CLOSERS, Span, sentences

if TYPE_CHECKING:
    from insurance_rag.core.records import RefusalLevel

# Predicates that mean "it is not stated". They count only at the end of a sentence: a sentence that begins with
# `알 수 없는 경우에는 ...` states a condition in the policy.
_POLITE = r"(?:습니다|어요|아요|네요|죠|다|음|는데요|군요|지만)?"
# Nouns for what a text contains, and verbs for how it contains them.
_TEXT_NOUN = (
    r"(?:내용|정보|규정|조항|조문|언급|설명|명시|기재|근거|문구|자료|기준|항목|답|단서|대목|구절|말|"
    r"(?:정한|정해진|정해\s?둔|나온|나와\s?있는|적힌|적혀\s?있는|언급된|규정된|명시된|기재된|밝힌|밝혀진|확인되는|다룬|"
    r"알려진)\s?(?:바|것|게|내용|부분|사항|규정))"
)
_STATED = r"(?:명시|언급|기재|규정|기술|서술|설명|안내|수록|제시|정의|확인|마련|기록|표기|거론|게재|특정|구체화)"
_DESCRIBED = r"(?:다루|정하|담|싣|적|밝히|말하|말해\s?주|알려\s?주|언급하|규정하|기재하|설명하|명시하|제시하|안내하|두)"
_TOLD = r"(?:답변|답|말씀|판단|제공|안내|설명|알려|확인|파악|단정|특정|대답|도와)"
_NOT = r"\s?(?:는\s|은\s|도\s|를\s)?\s?(?:않|못|아니)"
_NOT_STATED = (
    rf"(?:{_STATED})(?:(?:이|은|는)?\s?되어\s?있지|돼\s?있지|(?:이|은|는)?\s?되지|하고\s?있지|하지|"
    rf"된\s?바(?:가|는)?){_NOT.replace('않', '않|없')}"
    rf"|(?:나와|나타나|적혀|쓰여|써|실려|담겨|들어|정해져|다뤄져|올라|드러나|알려져)\s?있지{_NOT}"
    rf"|(?:나오|보이|나타나|드러나|잡히|들어\s?있)지{_NOT}"
    rf"|{_DESCRIBED}(?:고\s?있)?지{_NOT}(?=.{{0,6}}$|아|으)"
    rf"|(?:찾|확인|알|파악|{_TOLD})[가-힣]{{0,4}}\s?(?:드릴\s?|해\s?드릴\s?|볼\s?|낼\s?|할\s?)?수(?:가|는|도)?\s?없"
    rf"|(?:답|답변|근거|말씀|안내|설명)(?:을|를|은|는)?\s?(?:드릴|해\s?드릴|내릴|할|찾을|볼)\s?수(?:가|는)?\s?없"
    rf"|{_TOLD}[가-힣]{{0,4}}\s?(?:드리기|하기|해\s?드리기|드리기가|하기가|하기는|드리기는|주기)?"
    rf"(?:이|가|은|는)?\s?(?:어렵|어려|곤란|불가|힘들|힘듭)"
    rf"|(?:확인|파악)(?:이|은|는)?\s?(?:안\s?(?:되|돼|됩)|불가)"
    rf"|{_TEXT_NOUN}(?:은|이|가|는|도|을|를)?\s?(?:따로|별도로|전혀|아예|아무것도|보이지|찾지|확인하지)?\s?"
    rf"(?:없|존재하지\s?않|포함(?:되어|돼)\s?있지\s?않|포함되지\s?않|(?:찾지|찾아내지|발견하지|확인하지)\s?못|않|"
    rf"하고\s?있지\s?않)"
    r"|(?:약관|조항|문서)[가-힣]{0,4}\s.{0,20}포함(?:되어|돼)\s?있지\s?않"
    r"|(?:나와|적혀|쓰여|실려)\s?있지\s?않|안\s(?:나와|적혀|쓰여|실려)\s?있"
    r"|(?:알|답하|판단하|확인하)기\s?(?:가\s|는\s)?어렵|침묵하고"
    r"|(?:모르겠|잘\s?모르|알지\s?못|침묵하)"
    r"|(?:찾|찾아내|찾아보)지\s?못|약관(?:에|에는|에도|상에?는?)\s?(?:전혀\s|따로\s|아예\s)?없"
    r"|(?:설명|언급|내용|규정|항목)(?:이|은|가)?\s?빠져\s?있"
    r"|(?:범위를\s?벗어|범위\s?밖|약관\s?밖)"
)
# Advice that may follow the predicate in the same sentence: `명시되어 있지 않으므로 확인이 필요합니다`.
_ADVICE = (
    r"(?:으므로|므로|아서|아|어서|어|서|으니|니|기에|기\s?때문에),?\s.{0,30}"
    r"(?:확인|문의|상담|연락|판단|답변|안내|알려).{0,25}"
)
# `알 수 없는 사항이에요`: the predicate modifies a noun for the question.
_UNKNOWN_MATTER = (
    r"나?[는난]\s?(?:사항|내용|질문|부분|문제|것|점|항목|정보)(?:입니다|이에요|예요|이네요|이라|이지요|이죠)"
)
# The predicate at the end of a sentence, with its polite ending, punctuation and closing quotes.
_NOT_STATED_FINAL = re.compile(
    rf"(?:{_NOT_STATED})(?:[가-힣]{{0,3}}{_POLITE}|{_ADVICE}|{_UNKNOWN_MATTER}[가-힣]{{0,3}})[\s.?!。…]*[{re.escape(CLOSERS)}]*[.]?$"
)
# Words in sentences about the text or the answer. Without one of them, a sentence is not a refusal:
# `회사는 그 사유를 설명할 수 없습니다` is about the company.
_ABOUT_THE_TEXT = re.compile(
    r"약관|조항|문서|본문|지문|자료|내용|정보|규정|조문|명시|언급|기재|자세|구체|정확|제공된|주어진|질문|답변|해당\s|모르|알\s?수|찾을|근거|문의하신|여쭤"
)
# A phrase that names the text as the place where something is missing. It counts even if a party is also named.
_IN_THE_TEXT = re.compile(
    r"(?:약관|조항|조문|문서|본문|지문|자료|내용|정보)(?:\s?(?:어디|전체|안|상|내|중))?(?:에(?!\s?따)|에서|상으?로?|만으로|으로|은|는|이|을)"
)
# A sentence with a person or a company as its subject.
_ABOUT_A_PARTY = re.compile(r"(?:회사|계약자|피보험자|수익자|보험자|가입자|고객|의사|병원)(?:는|은|가|이|께서)\s")
# Sentences that accompany a refusal without answering anything: apologies, and advice to ask elsewhere.
_FILLER = re.compile(
    r"죄송|양해|문의(?:하|해|바랍|를|드)|확인(?:하시|해\s?주|해\s?보|이\s?필요|하는\s?것이)|상담|고객\s?센터|참고\s?(?:하|해)|도움이\s?필요|"
    r"(?:보험사|회사|설계사)(?:에|에게|로|와)\s?(?:직접\s?)?(?:연락|상담|확인|문의)|추가(?:적인)?\s?(?:정보|질문|문의)"
)
# Polite phrases that form a whole sentence.
_NOT_ASSERTING = re.compile(r"^(?:네|아니요|안녕하세요|감사합니다)[,.!\s]*$")


def refusal_sentences(text: str) -> list[Span]:
    """Return the sentences that say that the policy does not state what the question asks for.

    >>> [sentence.text for sentence in refusal_sentences("제7조에 따릅니다. 시기는 약관에 명시되어 있지 않습니다.")]
    ['시기는 약관에 명시되어 있지 않습니다.']
    """
    return [sentence for sentence in sentences(text) if is_refusal_sentence(sentence.text)]


def is_refusal_sentence(sentence: str) -> bool:
    """Return whether a sentence says that the policy does not state what the question asks for.

    >>> is_refusal_sentence("약관에 명시되어 있지 않습니다."), is_refusal_sentence("회사는 해지할 수 없습니다.")
    (True, False)
    """
    tail = sentence[-60:]
    if not _NOT_STATED_FINAL.search(tail):
        return False
    if _IN_THE_TEXT.search(sentence):
        return True
    return bool(_ABOUT_THE_TEXT.search(sentence)) and not _ABOUT_A_PARTY.search(sentence)


def refusal(text: str) -> RefusalLevel:
    """Return "full" if the text only refuses, "partial" if it also answers something, and "none" if it does not refuse.

    Apologies and advice to ask elsewhere do not count as an answer.

    >>> refusal("약관에 해당 내용이 없습니다.")
    'full'
    >>> refusal("3,000만원을 지급합니다. 지급 시기는 약관에 명시되어 있지 않습니다.")
    'partial'
    """
    if not _MAY_REFUSE.search(text):
        return "none"
    refused = answered = False
    for sentence in sentences(text):
        if is_refusal_sentence(sentence.text):
            refused = True
            answered = answered or _CONTRAST.search(sentence.text[:-12]) is not None
        elif not _FILLER.search(sentence.text) and not _NOT_ASSERTING.search(sentence.text):
            answered = True
    return "none" if not refused else "partial" if answered else "full"


def evasion(text: str) -> Span | None:
    """Return the sentence with which the text evades the question, or None.

    This is the first refusal, or the first sentence if every sentence only says that it depends or advises the customer
    to ask elsewhere.

    >>> evasion("고객센터에 문의하시기 바랍니다.").text
    '고객센터에 문의하시기 바랍니다.'
    """
    if not _MAY_EVADE.search(text):
        return None
    if refused := refusal_sentences(text):
        return refused[0]
    found = sentences(text)
    return found[0] if found and all(_deflects(sentence.text) for sentence in found) else None


def _deflects(sentence: str) -> bool:
    """Return whether a sentence only says that it depends, or only advises the customer to ask elsewhere."""
    if not (_DEFLECTION.search(sentence) or _DEPENDS.search(sentence)):
        return False
    return _ANSWERS.search(_NO_ANSWER.sub(" ", sentence)) is None


# Finds an answer in the first clause of a sentence whose last clause refuses. It matches the end of the first clause,
# such as `지급하지만, ` in `3,000만원을 지급하지만, 시기는 명시되어 있지 않습니다`.
_CONTRAST = re.compile(r"(?:지급|보장|보상|납입|해지|적용|인정|부담|가능|[말합입])[가-힣]{0,6}(?:지만|나|며|고),?\s")
# Every refusal contains one of these syllables. Checking for them first avoids the slow patterns for most texts.
_MAY_REFUSE = re.compile("없|않|어렵|어려|곤란|불가|모르|못|안 |힘들|힘듭|밖|벗어|침묵|빠져")
_MAY_EVADE = re.compile(
    "없|않|어렵|어려|곤란|불가|모르|못|안 |힘들|힘듭|밖|벗어|침묵|빠져|문의|상담|상의|의논|연락|확인|다르|다릅|다를|달"
)
# A sentence that advises the customer to ask elsewhere. It is not an evasion if it also states a condition, an amount
# or a duty. _ANSWERS matches these.
_DEFLECTION = re.compile(
    r"(?:문의|상담|상의|의논|연락|확인)(?:하시|하세|하십|해\s?(?:주|보)|을?\s?(?:바랍|부탁|권)|하는\s?(?:것이|게)\s?(?:좋|필요|정확)|"
    r"이\s?필요)[^.]{0,20}[.!]?$"
)
# A sentence that only says that it depends: `경우에 따라 달라질 수 있습니다`.
_DEPENDS = re.compile(
    r"(?:상황|경우|조건|상품|사람|개인|계약|가입|약관|사안|사례|케이스)[^.]{0,20}(?:따라|마다)\s?[^.]{0,12}(?:다르|다릅|다를|달라|달랐)"
    r"[^.0-9]{0,40}[.!]?$"
)
_NO_ANSWER = re.compile(
    r"(?:경우|상황|사안|조건)(?:에|마다)|(?:지급|보장|보상|해지|가입)\s?(?:가능\s?)?(?:여부|금액|내용|범위|기준|조건)|"
    r"(?:지급|보장|보상)(?:이|은|는|가)?\s?(?:될|되는|할|하는)\s?수도"
)
"""Words of `_ANSWERS` that state nothing by themselves: 경우에 따라, 보장 여부."""
_ANSWERS = re.compile(r"\d\s?(?:만|억|천|원|%|일|개월|년|회|영업일)|경우|때에는|지급|보장|보상|해지|통지|알려야")
