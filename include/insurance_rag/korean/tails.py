"""What a model adds that is no answer: foreign or advertising tails, loops, echoes of its prompt."""

from __future__ import annotations

import re
from collections import Counter

from insurance_rag.korean.sentences import Span, sentences

_HANGUL = re.compile("[가-힣]")
_OTHER_LETTER = re.compile(r"[^\W\d_가-힣]")
# Letters of scripts a Korean policy has no use for: kana, Cyrillic, Greek words, Arabic, Thai, Devanagari.
_STRANGE_SCRIPT = re.compile("[\u3040-\u30ff\u0400-\u04ff\u0600-\u06ff\u0e00-\u0e7f\u0900-\u097f]{2,}")
# Three words of Latin or a phrase of Chinese characters without Korean between them: MRI, CT and 犬 stay unharmed.
_LATIN = "[A-Za-zÀ-ɏ'’\\-]"
_FOREIGN_PHRASE = re.compile(
    rf"(?<!{_LATIN}){_LATIN}{{2,}}+(?:[\s,;:]++{_LATIN}++){{2,}}+|[\u4e00-\u9fff]{{6,}}|(?:Este es|Ich möchte)\b"
)
_LATIN_WORDS = re.compile(f"{_LATIN}+")
_ADVERTISING = re.compile(
    r"이번에 새로 (?:나온|출시)|이번엔 |https?://|www\.|[#＃][가-힣A-Za-z]{2,}|놓치지 마세요|"
    r"지금 (?:바로|즉시) (?:가입|신청|상담|클릭|전화|다운)|구독(?:과|하|은|을|,)|좋아요(?:와|를|\s?버튼)|"
    r"블로그|유튜브|더 많은 (?:정보|혜택|소식)|이벤트 (?:참여|응모|당첨|진행)|"
    r"(?:무료|특별)\s?(?:상담|증정|할인|체험)|사은품|최저가|광고\s?문의|친구\s?추가|"
    r"(?:클릭|터치)(?:하세요|해\s?주세요|하시면)|카카오톡 (?:채널|친구|상담)|[\U0001f300-\U0001faff]"
)
_ECHO = re.compile(
    r"#{2,}\s?(?:지시|입력|출력|보험\s?약관|질문|답변|응답)|\[(?:보험\s?약관|요구\s?사항|지시|질문|답변)\]|"
    r"<\|[a-z_]+\|>|</?s>|\[/?INST\]|(?<!\S)(?:질문|답변|지시|출력)\s?:|아래 제공된|약관에 없는 내용은 추측하지|"
    r"보험\s?약관 전문가(?:입니다|로서)|as an ai|AI 언어 ?모델",
    re.IGNORECASE | re.MULTILINE,
)
_LOOP = re.compile(r"(.{6,60}?)(?:\s?\1){2,}|(\S{2,5})(?:\s?\2){5,}", re.DOTALL)
_LOOP_WINDOW = 2000
"""Characters looked at from either end: the search is quadratic, and a loop fills the end."""
_GRAM = 6
"""A loop holds some 6-gram three times, a repeated sentence of ten letters holds several twice: quick tests first."""
_STUTTER = 7
"""A letter this many times in a row (spaces aside) is no word."""


def hangul_share(text: str) -> float:
    """Share of Hangul among the letters; 1.0 where there are no letters."""
    if not _OTHER_LETTER.search(text):
        return 1.0
    others = len(_OTHER_LETTER.findall(text))
    hangul = len(_HANGUL.findall(text))
    return hangul / (hangul + others)


def _is_known(phrase: str, contexts: tuple[str, ...]) -> bool:
    """Whether a context holds the phrase, or its words are abbreviations (CT, MRI, PET) and words of the context."""
    words = _LATIN_WORDS.findall(phrase)
    return any(phrase in context for context in contexts) or (
        bool(words) and all(word.isupper() or any(word in context for context in contexts) for word in words)
    )


def foreign_tail(text: str, *contexts: str) -> Span | None:
    """The first foreign phrase that no context holds, with all that follows it."""
    if not _MAY_BE_FOREIGN.search(text):
        return None
    for pattern in (_STRANGE_SCRIPT, _FOREIGN_PHRASE):
        for match in pattern.finditer(text):
            if not _is_known(match.group(), contexts):
                return Span(text[match.start() :], match.start(), len(text))
    return None


def advertising(text: str, *contexts: str) -> Span | None:
    """The first advertising phrase that no context holds."""
    for match in _ADVERTISING.finditer(text):
        if not any(match.group() in context for context in contexts):
            return Span(match.group(), match.start(), match.end())
    return None


def prompt_echo(text: str, question: str = "") -> Span | None:
    """Markers of the prompt inside an answer, or the question said again at its start."""
    if match := _ECHO.search(text):
        return Span(match.group(), match.start(), match.end())
    asked = question.strip()
    if len(asked) >= 10 and text.lstrip().startswith(asked):
        at = text.index(asked)
        return Span(asked, at, at + len(asked))
    return None


def repetition(text: str) -> Span | None:
    """A loop: a phrase three times in a row, a short token six times, or one sentence three times (twice in a row)."""
    repeats = len(text) > 2 * _LOOP_WINDOW
    for start in sorted({0, max(0, len(text) - _LOOP_WINDOW)}):
        window = text[start : start + _LOOP_WINDOW]
        counts = Counter([window[i : i + _GRAM] for i in range(len(window) - _GRAM + 1)])
        most = max(counts.values(), default=0)
        if most >= 3 and (match := _LOOP.search(window)):
            return Span(match.group(), start + match.start(), start + match.end())
        if most >= 2 and (span := _stutter(window)):
            return Span(span.text, start + span.start, start + span.end)
        repeats = repeats or most >= 2
    return _repeated_sentence(text) if repeats else None


def _stutter(text: str) -> Span | None:
    squeezed = "".join(text.split())
    for letter in sorted(set(squeezed)):
        if letter.isalnum() and letter * _STUTTER in squeezed:
            at = text.index(letter)
            return Span(letter, at, at + 1)
    return None


def _repeated_sentence(text: str) -> Span | None:
    counts: dict[str, int] = {}
    previous = ""
    for sentence in sentences(text):
        if len(sentence.text) >= 10:
            counts[sentence.text] = counts.get(sentence.text, 0) + 1
            if sentence.text == previous or counts[sentence.text] >= 3:
                return sentence
        previous = sentence.text
    return None


_MAY_BE_FOREIGN = re.compile(
    "[A-Za-zÀ-ɏ\u3040-\u30ff\u0400-\u04ff\u0600-\u06ff\u0e00-\u0e7f\u0900-\u097f\u4e00-\u9fff]{2}"
)
