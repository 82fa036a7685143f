"""Korean forms the answers need: particles, a statement turned into a question, a formal ending made plain."""

from __future__ import annotations

import re

_HANGUL, _FINALS, _BIEUP = 0xAC00, 28, 17

#: particle after a final consonant -> after a vowel
_PARTICLES = {"은": "는", "이": "가", "을": "를", "과": "와", "으로": "로", "이란": "란", "이라면": "라면"}

_AMOUNT = r"(?:\d[\d,]*(?:\.\d+)?\s*(?:조|억|천만|백만|만|천)?\s*)+원"
_COUNT = r"(\d[\d,]*(?:\.\d+)?)\s*(%|영업일|개월|시간|일|년|회|세|명|배)"
_NUMBER = re.compile(rf"(?<![\d,.제])(?:(?P<amount>{_AMOUNT})|{_COUNT})(?!당|차|간의|, ?\d|[가-힣]*조)")

_EASY_ENDINGS = (
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


def has_final(word: str) -> bool:
    """Whether the word is read with a final consonant (받침) at its end."""
    last = word.rstrip("\"'”’)] ")[-1:]
    if "가" <= last <= "힣":
        return (ord(last) - _HANGUL) % _FINALS != 0
    return last in "013678LMNR"


def join(word: str, particle: str) -> str:
    """The word with its particle, which is given as after a final consonant: join("회사", "은") -> "회사는"."""
    if particle == "으로" and word and "가" <= word[-1] <= "힣" and (ord(word[-1]) - _HANGUL) % _FINALS == 8:
        return word + "로"  # after ㄹ
    return word + (particle if has_final(word) else _PARTICLES[particle])


def as_question(sentence: str) -> str | None:
    """`... 할 수 있습니다.` -> `... 할 수 있나요?`; None where the ending is of no formal statement."""
    body = sentence.rstrip(" .")
    if body.endswith("아닙니다"):
        return body[:-4] + "아닌가요?"
    if body.endswith("입니다"):
        return body[:-3] + "인가요?"
    if body.endswith("습니다"):
        return body[:-3] + "나요?"
    if body.endswith("니다") and len(body) > 2 and (ord(body[-3]) - _HANGUL) % _FINALS == _BIEUP:
        return body[:-3] + chr(ord(body[-3]) - _BIEUP) + "나요?"
    return None


def ask_for_number(sentence: str) -> str | None:
    """The sentence as a question for its first amount, period or rate; None where there is none to ask for."""
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
    """Formal sentence endings made everyday ones: `지급합니다.` -> `지급해요.`"""
    sentences = re.split(r"(?<=다\.)(?=\s|$)", text)
    return "".join(_plain_sentence(sentence) for sentence in sentences)


def _plain_sentence(sentence: str) -> str:
    if not sentence.endswith("."):
        return sentence
    body = sentence[:-1]
    for formal, easy in _EASY_ENDINGS:
        if body.endswith(formal):
            return body[: -len(formal)] + easy + "."
    if body.endswith("입니다"):
        stem = body[:-3]
        return stem + ("이에요." if has_final(stem) else "예요.")
    return sentence
