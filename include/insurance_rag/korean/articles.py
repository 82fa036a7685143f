"""Parses references to articles of a policy or a law: 제7조, 제59조의4, 제7조 제1항 제2호, 제2항.

An article (조) is divided into paragraphs (항), and a paragraph into items (호).
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Article(NamedTuple):
    """A reference to an article, a paragraph or an item.

    `text` is the reference as written. `start` and `end` are its position in the analyzed text. `branch` is the M in
    제N조의M. A number that the reference does not contain is None.
    """

    article: int | None
    branch: int | None
    paragraph: int | None
    item: int | None
    start: int
    end: int
    text: str

    @property
    def levels(self) -> list[tuple[str, int, int | None]]:
        """The named article, paragraph and item, each as a tuple (조, 항 or 호; its number; branch).

        The branch is the M of 제N조의M. It is None for all other references.

        >>> articles("제7조 제1항")[0].levels
        [('조', 7, None), ('항', 1, None)]
        """
        named = (("조", self.article, self.branch), ("항", self.paragraph, None), ("호", self.item, None))
        return [(level, number, branch) for level, number, branch in named if number is not None]


# Separator between the levels of one reference, as in `제7조 제1항` and `제7조, 제1항`.
_GAP = r"[\s,]{0,2}"
# An article's title may follow its number, as in 제7조(보험금의 지급사유) 제1항.
_TITLE = r"(?:\s?\([^()\n]{1,60}\))?"
# The first alternative is an article, optionally with a paragraph and an item. `7조` without 제 matches only before a
# particle, a paragraph or a title, because `10조원` is an amount of money. The other alternatives are references that
# begin with a paragraph or an item.
_PATTERN = re.compile(
    rf"""
      (?:제\s?(?P<article>\d{{1,4}})\s?조|(?<![\d제,.])(?P<bare>\d{{1,4}})조(?=[에의는은를가와과]|\s?(?:제\s?)?\d+항|\s?\())
        (?:의\s?(?P<branch>\d{{1,3}})(?!\d|조|항|호|[.,]\d|\s?%|[십백천만억원일년회배세명건주]|개월|영업일|퍼센트))?
        (?:{_TITLE}{_GAP}제?\s?(?P<paragraph>\d{{1,3}})\s?항)?
        (?:{_TITLE}{_GAP}제?\s?(?P<item>\d{{1,3}})\s?호)?
    | 제\s?(?P<paragraph2>\d{{1,3}})\s?항(?:{_GAP}제?\s?(?P<item2>\d{{1,3}})\s?호)?
    | 제\s?(?P<item3>\d{{1,3}})\s?호
    """,
    re.VERBOSE,
)
_HEADING = re.compile(
    r"^[ \t]*제\s?(\d{1,4})\s?조(?:의\s?(\d{1,3}))?\s?[(（\[［【][^)）\]］】\n]*[)）\]］】]"
    r"(?=\s|$)(?![ \t]+(?:제\s?\d|및|와|과|또는|내지)\s?)",
    re.MULTILINE,
)
# What follows an article that is the source of a statement, after its title if there is one.
_SOURCE = re.compile(
    rf"{_TITLE}(?:에\s?(?:따르면|따라|의하면|의해|의거|근거하|명시|규정|나와|적혀|정해)|에서는?\s(?!정)|에는\s|"
    r"(?:이|가|은|는|에서)\s?(?:정하|규정하|명시하|밝히)|상\s)"
)
_AFTER_DOCUMENT = re.compile(
    r"(?:법|법률|령|규칙|기준|협약|(?:보통|특별|표준|추가)\s?약관|[」』》｣⌟])의?\s?(?:\([^()\n]{1,30}\))?\s*$"
)
# Paragraphs begin with a circled number, and items with a number at the start of a line.
_CIRCLED = {chr(0x2460 + i): i + 1 for i in range(20)}
_CIRCLED_PATTERN = re.compile("[①-⑳]")
_ITEM_LINE = re.compile(r"^[ \t]*(\d{1,2})[.)]\s", re.MULTILINE)


def articles(text: str) -> list[Article]:
    """Return all references to articles, paragraphs and items in the text, in order.

    >>> [(a.text, a.article, a.paragraph) for a in articles("제7조 제1항과 제8조에 따릅니다.")]
    [('제7조 제1항', 7, 1), ('제8조', 8, None)]
    """
    if "조" not in text and "항" not in text and "호" not in text:
        return []
    found = []
    for match in _PATTERN.finditer(text):
        numbers = (
            match["article"] or match["bare"],
            match["branch"],
            match["paragraph"] or match["paragraph2"],
            match["item"] or match["item2"] or match["item3"],
        )
        article, branch, paragraph, item = (int(number) if number else None for number in numbers)
        found.append(Article(article, branch, paragraph, item, match.start(), match.end(), match.group()))
    return found


def heading_articles(text: str) -> set[tuple[int, int | None]]:
    """Return the number and branch of each article that has its heading at the start of a line of the text.

    >>> sorted(heading_articles("제7조(보험금의 지급)\\n제9조(청구서류)의 서류를 받으면 지급합니다."))
    [(7, None)]
    """
    return {(int(match[1]), int(match[2]) if match[2] else None) for match in _HEADING.finditer(text)}


def cited_as_source(text: str) -> list[Article]:
    """Return the articles that the text names as the source of a statement, such as `제7조에 따르면` or `제7조에서는`.

    Articles that are only mentioned do not count (`제9조의 서류를 내면`), nor do those of a named law or of another
    document (`상법 제651조에 따르면`).

    >>> [a.text for a in cited_as_source("제7조에 따르면 제9조의 서류를 내야 합니다.")]
    ['제7조']
    """
    return [
        reference
        for reference in articles(text)
        if reference.article is not None
        and _SOURCE.match(text, reference.end)
        and not _AFTER_DOCUMENT.search(text, max(0, reference.start - 20), reference.start)
    ]


def named_levels(context: str) -> set[tuple[str, int, int | None]]:
    """Return the articles, paragraphs and items that a context refers to or contains. For the tuples, see `levels`.

    The character ② means that the context contains 제2항. A line that begins with `3. ` means that it contains 제3호.

    >>> sorted(named_levels("제7조(지급)\\n② 다음과 같습니다.\\n1. 사망"))
    [('조', 7, None), ('항', 2, None), ('호', 1, None)]
    """
    levels = {level for reference in articles(context) for level in reference.levels}
    levels |= {("항", _CIRCLED[c], None) for c in _CIRCLED_PATTERN.findall(context)}
    return levels | {("호", int(n), None) for n in _ITEM_LINE.findall(context)}


def unsupported_articles(answer: str, *contexts: str) -> list[Article]:
    """Return the references in the answer whose article, paragraph or item is missing from every context.

    >>> [a.text for a in unsupported_articles("제7조와 제9조에 따릅니다.", "제7조(보험금의 지급사유)")]
    ['제9조']
    """
    cited = articles(answer)
    if not cited:
        return []
    known = set[tuple[str, int, int | None]]().union(*(named_levels(context) for context in contexts))
    return [reference for reference in cited if not known.issuperset(reference.levels)]
