"""Detects degenerate model output: foreign or advertising text, prompt echoes, and repetition."""

from __future__ import annotations

import re
from collections import Counter

from insurance_rag.korean.sentences import Span, sentences

_HANGUL = re.compile("[가-힣]")
# A letter from another script: a word character that is not a digit, an underscore or a Korean syllable.
_OTHER_LETTER = re.compile(r"[^\W\d_가-힣]")
# Scripts that do not occur in Korean policies: kana, Cyrillic, Arabic, Thai and Devanagari.
_STRANGE_SCRIPT = re.compile("[\u3040-\u30ff\u0400-\u04ff\u0600-\u06ff\u0e00-\u0e7f\u0900-\u097f]{2,}")
# Three Latin words in a row, or six Chinese characters in a row. Shorter sequences are normal in a policy: MRI, CT, 犬.
# Possessive quantifiers keep the search time linear.
_LATIN = "[A-Za-zÀ-ɏ'’\\-]"
_FOREIGN_PHRASE = re.compile(
    rf"(?<!{_LATIN}){_LATIN}{{2,}}+(?:[\s,;:]++{_LATIN}++){{2,}}+|[\u4e00-\u9fff]{{6,}}|(?:Este es|Ich möchte)\b"
)
_LATIN_WORDS = re.compile(f"{_LATIN}+")
# Phrases that are typical of the blogs and advertisements that Korean language models were trained on.
_ADVERTISING = re.compile(
    r"이번에 새로 (?:나온|출시)|이번엔 |https?://|www\.|[#＃][가-힣A-Za-z]{2,}|놓치지 마세요|"
    r"지금 (?:바로|즉시) (?:가입|신청|상담|클릭|전화|다운)|구독(?:과|하|은|을|,)|좋아요(?:와|를|\s?버튼)|"
    r"블로그|유튜브|더 많은 (?:정보|혜택|소식)|이벤트 (?:참여|응모|당첨|진행)|"
    r"(?:무료|특별)\s?(?:상담|증정|할인|체험)|사은품|최저가(?!\s?\d)|광고\s?문의|친구\s?추가|"
    r"(?:클릭|터치)(?:하세요|해\s?주세요|하시면)|카카오톡 (?:채널|친구|상담)|[\U0001f300-\U0001faff]"
)
# The part of advertising that no customer writes in a question: links, hashtags, pictures and appeals. A customer may
# well ask about gifts, discounts or something seen on YouTube.
_PROMOTION = re.compile(
    r"https?://|www\.|[#＃][가-힣A-Za-z]{2,}|놓치지 마세요|더 많은 (?:정보|혜택|소식)|"
    r"지금 (?:바로|즉시) (?:가입|신청|상담|클릭|전화|다운)[가-힣]{0,3}(?:하세요|주세요|보세요)|"
    r"(?:클릭|터치)(?:하세요|해\s?주세요)|구독(?:과|은|을|,)\s?좋아요|[\U0001f300-\U0001faff]"
)
# Section headings, role markers and sentences from prompts, and special tokens from chat templates.
_ECHO = re.compile(
    r"#{2,}\s?(?:지시|입력|출력|보험\s?약관|질문|답변|응답)|\[(?:보험\s?약관|요구\s?사항|지시|질문|답변)\]|"
    r"<\|[a-z_]+\|>|</?s>|\[/?INST\]|(?<!\S)(?:질문|답변|지시|출력)\s?:|아래 제공된|약관에 없는 내용은 추측하지|"
    r"보험\s?약관 전문가(?:입니다|로서)|as an ai|AI 언어 ?모델",
    re.IGNORECASE | re.MULTILINE,
)
# A phrase of 6 to 60 characters that occurs three times in a row, or a token of 2 to 5 characters that occurs six times
# in a row.
_LOOP = re.compile(r"(.{6,60}?)(?:\s?\1){2,}|(\S{2,5})(?:\s?\2){5,}", re.DOTALL)
_LOOP_WINDOW = 2000
"""Only this many characters at the start of a text, and as many at its end, are searched for loops. Searching the whole
text would take quadratic time. A model that falls into a loop usually repeats itself to the end."""
_GRAM = 6
"""Length of the character n-grams that are counted before a slow search. A text with a loop contains some 6-gram at
least three times. A text with a repeated sentence contains some 6-gram at least twice. Other texts are skipped."""
_STUTTER = 7
"""This many equal letters in a row count as a repetition. Whitespace between them is ignored."""


def hangul_share(text: str) -> float:
    """Return the fraction of letters that are Korean; 1.0 for a text without letters.

    >>> hangul_share("보험 ab")
    0.5
    """
    if not _OTHER_LETTER.search(text):
        return 1.0
    others = len(_OTHER_LETTER.findall(text))
    hangul = len(_HANGUL.findall(text))
    return hangul / (hangul + others)


def _is_known(phrase: str, contexts: tuple[str, ...]) -> bool:
    """Return whether a context contains the phrase, or all its Latin words are known.

    A word is known if a context contains it or if it is written in capitals, such as CT.
    """
    words = _LATIN_WORDS.findall(phrase)
    return any(phrase in context for context in contexts) or (
        bool(words) and all(word.isupper() or any(word in context for context in contexts) for word in words)
    )


def foreign_tail(text: str, *contexts: str) -> Span | None:
    """Return the end of the text, from the first unknown foreign phrase on, or None if there is no such phrase.

    >>> foreign_tail("지급합니다. Este es un seguro de vida").text
    'Este es un seguro de vida'
    """
    if not _MAY_BE_FOREIGN.search(text):
        return None
    for pattern in (_STRANGE_SCRIPT, _FOREIGN_PHRASE):
        for match in pattern.finditer(text):
            if not _is_known(match.group(), contexts):
                return Span(text[match.start() :], match.start(), len(text))
    return None


def advertising(text: str, *contexts: str) -> Span | None:
    """Return the first advertising phrase that no context contains, or None.

    >>> advertising("지급합니다. 지금 바로 가입하세요!").text
    '지금 바로 가입'
    """
    for match in _ADVERTISING.finditer(text):
        if not any(match.group() in context for context in contexts):
            return Span(match.group(), match.start(), match.end())
    return None


def promotion(question: str, *contexts: str) -> Span | None:
    """Return the first link, hashtag, picture or appeal to buy in a question that no context contains, or None.

    Unlike `advertising`, this ignores mere words such as 사은품, because customers ask about gifts.

    >>> promotion("가입하면 사은품을 주나요?"), promotion("지금 바로 가입하세요! 얼마인가요?").text
    (None, '지금 바로 가입하세요')
    """
    for match in _PROMOTION.finditer(question):
        if not any(match.group() in context for context in contexts):
            return Span(match.group(), match.start(), match.end())
    return None


def prompt_echo(text: str, question: str = "") -> Span | None:
    """Return the first prompt marker in the text, or the question if the text begins with it, or None.

    A question of fewer than 10 characters is ignored, because an answer may begin with the same words.

    >>> prompt_echo("### 입력 암 진단비").text
    '### 입력'
    """
    if match := _ECHO.search(text):
        return Span(match.group(), match.start(), match.end())
    question = question.strip()
    if len(question) >= 10 and text.lstrip().startswith(question):
        start = text.index(question)
        return Span(question, start, start + len(question))
    return None


def repetition(text: str) -> Span | None:
    """Return the first repetition in the text, or None.

    A repetition is one of the following:
    - a phrase three times in a row
    - a short token six times in a row
    - a letter seven times in a row
    - a sentence twice in a row or three times in total

    >>> repetition("보험금을 지급합니다. 보험금을 지급합니다.").text
    '보험금을 지급합니다.'
    """
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
    """Return the first occurrence of a letter that is repeated _STUTTER times in a row, ignoring whitespace."""
    squeezed = "".join(text.split())
    for letter in sorted(set(squeezed)):
        if letter.isalnum() and letter * _STUTTER in squeezed:
            at = text.index(letter)
            return Span(letter, at, at + 1)
    return None


def _repeated_sentence(text: str) -> Span | None:
    """Return the first sentence of at least 10 characters that occurs twice in a row or three times in total."""
    counts: dict[str, int] = {}
    previous = ""
    for sentence in sentences(text):
        if len(sentence.text) >= 10:
            counts[sentence.text] = counts.get(sentence.text, 0) + 1
            if sentence.text == previous or counts[sentence.text] >= 3:
                return sentence
        previous = sentence.text
    return None


# Two consecutive letters from another script. Checking for them first skips the slow patterns for most texts.
_MAY_BE_FOREIGN = re.compile(
    "[A-Za-zÀ-ɏ\u3040-\u30ff\u0400-\u04ff\u0600-\u06ff\u0e00-\u0e7f\u0900-\u097f\u4e00-\u9fff]{2}"
)
