"""Korean grammar for the simulator's texts: questions made from statements, and everyday verb endings."""

from __future__ import annotations

import re

from insurance_rag.korean.particles import final_consonant, has_final

_BIEUP = 17
"""Position of the final consonant ㅂ, which precedes 니다 in formal verbs (see `final_consonant`)."""

# _NUMBER matches an amount of money, or a count with its unit. It does not match article numbers (제7조) or parts of
# longer expressions such as `3회차`.
_AMOUNT = r"(?:\d[\d,]*(?:\.\d+)?\s*(?:조|억|천만|백만|만|천)?\s*)+원"
_COUNT = r"(\d[\d,]*(?:\.\d+)?)\s*(%|영업일|개월|시간|일|년|회|세|명|배)"
_NUMBER = re.compile(rf"(?<![\d,.제])(?:(?P<amount>{_AMOUNT})|{_COUNT})(?!당|차|간의|, ?\d|[가-힣]*조)")

#: Pairs of a formal verb ending and the everyday ending that replaces it.
_PLAIN_ENDINGS = (
    ("아닙니다", "아니에요"),
    ("있습니다", "있어요"),
    ("없습니다", "없어요"),
    ("않습니다", "않아요"),
    ("받습니다", "받아요"),
    ("드립니다", "드려요"),
    ("합니다", "해요"),
    ("됩니다", "돼요"),
    ("봅니다", "봐요"),
)


def as_question(sentence: str) -> str | None:
    """Turn a formal statement into a question. Return None if the sentence does not have a formal ending.

    >>> as_question("보험금을 지급합니다.")
    '보험금을 지급하나요?'
    """
    body = sentence.rstrip(" .")
    if body.endswith("아닙니다"):
        return body[:-4] + "아닌가요?"
    if body.endswith("입니다"):
        return body[:-3] + "인가요?"
    if body.endswith("습니다"):
        return body[:-3] + "나요?"
    if body.endswith("니다") and len(body) > 2 and final_consonant(body[-3]) == _BIEUP:
        return body[:-3] + chr(ord(body[-3]) - _BIEUP) + "나요?"
    return None


def ask_for_number(sentence: str) -> str | None:
    """Turn a statement into a question about its first amount, period or rate.

    Returns None if the statement contains no such number or does not have a formal ending.

    >>> ask_for_number("회사는 3,000만원을 지급합니다.")
    '회사는 얼마를 지급하나요?'
    """
    question = as_question(sentence)
    found = _NUMBER.search(question) if question else None
    if not question or not found:
        return None
    before, after = question[: found.start()], question[found.end() :]
    if not found["amount"]:
        unit = found[3]
        return f"{before}{'며칠' if unit == '일' else f'몇 {unit}'}{after}"
    for final, vowel in (("으로", "로"), ("을", "를"), ("은", "는"), ("이", "가"), ("과", "와")):
        if re.match(rf"{final}(?![가-힣])", after):
            return f"{before}얼마{vowel}{after[len(final) :]}"
    return f"{before}얼마{after}"


def in_plain_words(text: str) -> str:
    """Replace the formal ending of every sentence with an everyday ending.

    >>> in_plain_words("지급합니다. 90일입니다.")
    '지급해요. 90일이에요.'
    """
    sentences = re.split(r"(?<=다\.)(?=\s|$)", text)
    return "".join(_plain_sentence(sentence) for sentence in sentences)


def _plain_sentence(sentence: str) -> str:
    if not sentence.endswith("."):
        return sentence
    body = sentence[:-1]
    for formal, plain in _PLAIN_ENDINGS:
        if body.endswith(formal):
            return body[: -len(formal)] + plain + "."
    if body.endswith("입니다"):
        stem = body[:-3]
        return stem + ("이에요." if has_final(stem) else "예요.")
    return sentence
