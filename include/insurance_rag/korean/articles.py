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
        (?:의\s?(?P<branch>\d{{1,3}})(?!\d|조|항|호))?
        (?:{_TITLE}{_GAP}제?\s?(?P<paragraph>\d{{1,3}})\s?항)?
        (?:{_TITLE}{_GAP}제?\s?(?P<item>\d{{1,3}})\s?호)?
    | 제\s?(?P<paragraph2>\d{{1,3}})\s?항(?:{_GAP}제?\s?(?P<item2>\d{{1,3}})\s?호)?
    | 제\s?(?P<item3>\d{{1,3}})\s?호
    """,
    re.VERBOSE,
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
