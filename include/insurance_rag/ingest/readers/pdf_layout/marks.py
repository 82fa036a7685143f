"""Recognizes what starts a line of its own: headings of articles and divisions, item numbers, bullets and captions."""

from __future__ import annotations

import re
from typing import NamedTuple

CIRCLED = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
CIRCLED_JAMO = "㉠㉡㉢㉣㉤㉥㉦㉧㉨㉩㉪㉫㉬㉭"
CIRCLED_SYLLABLES = "㉮㉯㉰㉱㉲㉳㉴㉵㉶㉷㉸㉹㉺㉻"
SYLLABLES = "가나다라마바사아자차카타파하"
JAMO = "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ"
ROMAN = "ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ"
OPENING, CLOSING = "(（[［【<〈《〔「『{", ")）]］】>〉》〕」』}"
# The closing bracket is optional, because a long title continues on the next line.
_ARTICLE = re.compile(r"제\s*\d{1,4}\s*조(?:\s*의\s*\d{1,2})?\s*(?:[(（\[［【<〈]|$)")
_DIVISION = re.compile(r"제\s*[\dⅠ-Ⅹ]{1,3}\s*[편장관절](?:\s|$|[(（\[【.:])")
_CAPTION = re.compile(
    r"[\[【<〈《(（〔]\s*(?:별\s*[표첨지]|부\s*[표록칙]|붙\s*임|첨\s*부|예\s*시|설\s*명|용어|참\s*고|관련)|【"
)
_BULLET = re.compile(
    r"[\ue000-\uf8ff]\s*|[•●○◎◇◆□■△▲▷▶☞※★☆▣◈♣♠✓✔➢➤❍▪▫◦‣⁃∎]\s*|\*{1,3}\s*[^\s\d*]|\(\*{1,3}\)|\([주註]\d?\)|주\s?\d?\s?[):]|[-–—·∙ㆍ・]\s+\S|[→⇒⇨]\s*\S|[:：]\s|↓"
)
# After a reference, the sentence continues with a particle, another reference, or a conjunction.
_CONTINUES = re.compile(
    r"\s?(?:(?:에서?|의|을|를|은|는|이|가|과|와|로|으로|부터|까지|에게|이나|도|및|또는|내지|혹은|중|상)(?![가-힣])"
    r"|에[는도만]|에\s?[따의관정불대기한규해적근열]|에서[는도의]?|의\s?\d|[,，、․]|(?:및|또는|내지|혹은)|제\s?\d+\s?[항호조목]|각\s?[호항]|[’'”\"」』])"
)
_SENTENCE_SUBJECT = re.compile(r"\s(?:이|그|본|동)\s(?:계약|보험|약관|특별|특약|추가|법|경우)")


class Mark(NamedTuple):
    """A mark at the start of a line, e.g. style `1.` and value 2 for `2. 보험기간`."""

    style: str
    value: int
    """Position in the sequence of the style, starting at 1; 0 if the style has no sequence."""
    end: int
    """Position of the text after the mark."""


_NUMBERED: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("①", re.compile(f"([{CIRCLED}])")),
    ("㉠", re.compile(f"([{CIRCLED_JAMO}])")),
    ("㉮", re.compile(f"([{CIRCLED_SYLLABLES}])")),
    ("❶", re.compile("([❶-❿])")),
    ("⑴", re.compile("([⑴-⒇])")),
    ("⒈", re.compile("([⒈-⒛])")),
    ("(1)", re.compile(r"\((\d{1,2})\)(?=\s|[가-힣A-Z「])")),
    ("(가)", re.compile(f"\\(([{SYLLABLES}])\\)(?=\\s|$|[가-힣])")),
    ("1)", re.compile(r"(\d{1,2})\)(?=\s|[가-힣A-Z「])")),
    ("가)", re.compile(f"([{SYLLABLES}])\\)(?=\\s|[가-힣A-Z「])")),
    ("1.", re.compile(r"(\d{1,2})\s?\.(?=\s|[가-힣「(‘“'\"]|[A-Z])(?!\s?\d{1,2}\s?\.)")),
    ("가.", re.compile(f"([{SYLLABLES}])\\.(?=\\s|$|[가-힣「(‘“'\"A-Z])")),
    ("ㄱ.", re.compile(f"([{JAMO}])[.)](?=\\s|[가-힣「(])")),
    ("Ⅰ.", re.compile(f"([{ROMAN}])[.)\\s](?=\\s?\\S)")),
    ("1의2.", re.compile(r"\d{1,2}의(\d{1,2})\.\s")),
)
_SEQUENCES = {
    "①": CIRCLED, "㉠": CIRCLED_JAMO, "㉮": CIRCLED_SYLLABLES, "❶": "❶❷❸❹❺❻❼❽❾❿", "(가)": SYLLABLES,
    "가)": SYLLABLES, "가.": SYLLABLES, "ㄱ.": JAMO, "Ⅰ.": ROMAN,
    "⑴": "".join(map(chr, range(0x2474, 0x2488))), "⒈": "".join(map(chr, range(0x2488, 0x249C))),
}  # fmt: skip
AMBIGUOUS = frozenset({"가.", "1.", "1)", "가)", "(1)", "(가)", "ㄱ.", "Ⅰ.", "1의2."})
"""Styles that the middle of a sentence can look like, e.g. `다. 다만` after a line that ends with `합니`."""


def find_mark(text: str) -> Mark | None:
    """Return the number or bullet at the start of a text.

    >>> find_mark("② 회사는"), find_mark("보험금을")
    (Mark(style='①', value=2, end=1), None)
    """
    for style, pattern in _NUMBERED:
        if match := pattern.match(text):
            name = match[1]
            value = int(name) if name.isdigit() and style not in _SEQUENCES else _SEQUENCES[style].index(name) + 1
            return Mark(style, value, match.end())
    if match := _BULLET.match(text):
        return Mark("bullet", 0, match.end())
    return None


def heading_style(text: str) -> str | None:
    """Return `article`, `division` or `caption` if the text begins like one. It may still be a reference."""
    for style, pattern in (("article", _ARTICLE), ("division", _DIVISION), ("caption", _CAPTION)):
        if pattern.match(text):
            return style
    return None


def is_reference(text: str) -> bool:
    """Return whether a text that begins like a heading names it inside a sentence: `제33조(보험료의 환급)에 따른`.

    >>> is_reference("제33조(보험료의 환급)에 따른"), is_reference("제33조(보험료의 환급)")
    (True, False)
    """
    head = re.match(
        r"제\s*\S{1,4}\s*[조편장관절](?:\s*의\s*\d{1,2})?\s*|[\[【<〈《(（〔][^\])】>〉》）〕]{1,20}[\])】>〉》）〕]\s*",
        text,
    )
    at = head.end() if head else 0
    if at < len(text) and text[at] in OPENING:
        closing = _closing(text, at)
        if closing is None:
            return False
        at = closing + 1
    if _SENTENCE_SUBJECT.match(text, at):
        return False
    return at < len(text) and _CONTINUES.match(text, at) is not None


def _closing(text: str, at: int) -> int | None:
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] in OPENING) - (text[i] in CLOSING)
        if depth == 0:
            return i
    return None


def open_brackets(text: str) -> int:
    """Return how many brackets the text opens and does not close."""
    depth = 0
    for char in text:
        depth = depth + 1 if char in OPENING else max(depth - 1, 0) if char in CLOSING else depth
    return depth
