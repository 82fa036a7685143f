"""Detects answers that begin with a preamble or a label, and answers that say nothing but yes or no."""

from __future__ import annotations

import re

from insurance_rag.korean.sentences import sentences

_PREAMBLE = re.compile(
    r"안녕하세요|다음은\s"
    r"|(?:네[,.!]?\s*)?(?:고객님[,.!]?\s*)?(?:"
    r"(?:답변|안내|설명|답)(?:을|를|해)?\s?(?:해\s?)?(?:드리겠|드릴게|드립니다|드려요|드리자면|하겠습니다)"
    r"|(?:고객님|문의|질문)[가-힣]*\s[^.\n]{0,20}(?:답변|안내|감사)"
    r"|(?:아래|다음)(?:와|과)\s?같이\s?(?:답변|안내|설명|알려|말씀)|좋은\s질문|문의해\s?주셔서|질문해\s?주셔서)"
)
# Natural before a reason: `물론입니다. 혼인하신 뒤 14일 안에 알리시면 보상합니다.`
_OF_COURSE = re.compile(r"물론(?:입니다|이죠|이에요|,)")
# A label in front of an answer, with or without Markdown: `답변:`, `**답변**`, `## 답변`, `[답변]`.
_LABEL = re.compile(
    r"[\s#*_\[<【(]*(?:답변|답|정답|응답|결론|answer)[\s*_\]>】)]*[:：]|[#*\[【<]+\s*(?:답변|답|정답|응답|answer)[\s*\]】>#]",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(r"\*\*|```|^[^\S\n]*(?:#{1,6}|[-*•])\s|^[^\S\n]*\|.*\|[^\S\n]*$", re.MULTILINE)

# Phrases that confirm or deny without saying what: `그렇습니다`, `말씀하신 내용이 맞습니다`.
_BARE = re.compile(
    r"(?:(?:말씀|질문|문의|이해)하신\s?(?:내용|것|대로|사항|바)?(?:이|은|는|가|와)?|"
    r"그(?:렇습니다|렇죠|렇지요|렇군요|래요|렇지(?:는)?\s?않(?:습니다|아요))|맞지\s?않(?:습니다|아요)|"
    r"맞(?:습니다|아요|지요|죠|는\s?(?:말씀|내용)입니다)|틀렸습니다|틀립니다|아닙니다|아니에요|알겠습니다|"
    r"(?:당연|물론)(?:히|합니다|하죠|이죠|입니다|이에요)?|(?:불가능|가능)(?:합니다|해요)|안\s?(?:됩니다|돼요)|됩니다|돼요|"
    r"(?:할\s?)?수\s?(?:있|없)(?:습니다|어요)|해당(?:됩니다|합니다|돼요|해요)|대로입니다|"
    r"네|예|넵|아니[요오]|아뇨|고객님|정말|사실|모두)"
    r"[\s,.!~?]*"
)


def starts_with_preamble(answer: str) -> bool:
    """Return whether an answer begins with a preamble or a label instead of the answer.

    >>> starts_with_preamble("네, 답변드리겠습니다! 제7조에 따르면 ..."), starts_with_preamble("**답변:** 지급합니다.")
    (True, True)
    >>> starts_with_preamble("네, 제7조에 따르면 지급합니다.")
    False
    """
    text = answer.lstrip()
    return _PREAMBLE.match(text) is not None or _LABEL.match(text) is not None


def is_formatted(answer: str) -> bool:
    """Return whether an answer begins with a preamble or a label, or contains Markdown.

    >>> is_formatted("- 3,000만원을 지급합니다."), is_formatted("네, 제7조에 따르면 지급합니다.")
    (True, False)
    """
    has_opening = starts_with_preamble(answer) or _OF_COURSE.match(answer.lstrip()) is not None
    return has_opening or _MARKDOWN.search(answer) is not None


def says_only_yes_or_no(answer: str) -> bool:
    """Return whether every sentence of an answer only confirms or denies, without saying what.

    >>> says_only_yes_or_no("네, 그렇습니다. 맞습니다."), says_only_yes_or_no("네, 3,000만원입니다.")
    (True, False)
    """
    found = sentences(answer)
    return bool(found) and all(_is_bare(sentence.text) for sentence in found)


def _is_bare(sentence: str) -> bool:
    end = 0
    while end < len(sentence):
        match = _BARE.match(sentence, end)
        if not match or match.end() == end:
            return False
        end = match.end()
    return True
