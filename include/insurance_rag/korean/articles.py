"""References to articles of a policy or a law: 제7조, 제59조의4, 제7조 제1항 제2호, 제2항."""

from __future__ import annotations

import re
from typing import NamedTuple


class Article(NamedTuple):
    """One reference; a level that it does not name is None (`branch` is M of 제N조의M)."""

    article: int | None
    branch: int | None
    paragraph: int | None
    item: int | None
    start: int
    end: int
    text: str

    @property
    def levels(self) -> list[tuple[str, int, int | None]]:
        """What it names, level by level: `[("조", 7, None), ("항", 1, None)]`."""
        named = (("조", self.article, self.branch), ("항", self.paragraph, None), ("호", self.item, None))
        return [(level, number, branch) for level, number, branch in named if number is not None]


_GAP = r"[\s,]{0,2}"
_TITLE = r"(?:\s?\([^()\n]{1,60}\))?"  # 제7조(보험금의 지급사유) 제1항
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
_CIRCLED = {chr(0x2460 + i): i + 1 for i in range(20)}
_CIRCLED_PATTERN = re.compile("[①-⑳]")
_ITEM_LINE = re.compile(r"^[ \t]*(\d{1,2})[.)]\s", re.MULTILINE)


def articles(text: str) -> list[Article]:
    """Every article reference of `text`, in order."""
    if "조" not in text and "항" not in text and "호" not in text:
        return []
    found = []
    for m in _PATTERN.finditer(text):
        article, paragraph = m["article"] or m["bare"], m["paragraph"] or m["paragraph2"]
        item = m["item"] or m["item2"] or m["item3"]
        a, b, p, i = (int(n) if n else None for n in (article, m["branch"], paragraph, item))
        found.append(Article(a, b, p, i, m.start(), m.end(), m.group()))
    return found


def named_levels(context: str) -> set[tuple[str, int, int | None]]:
    """Every 조, 항 and 호 that a clause names or has: ② is a 제2항, a line `3. ` a 제3호."""
    levels = {level for reference in articles(context) for level in reference.levels}
    levels |= {("항", _CIRCLED[c], None) for c in _CIRCLED_PATTERN.findall(context)}
    return levels | {("호", int(n), None) for n in _ITEM_LINE.findall(context)}


def unsupported_articles(answer: str, *contexts: str) -> list[Article]:
    """The references of `answer` of which some level stands in no context."""
    cited = articles(answer)
    if not cited:
        return []
    known = set[tuple[str, int, int | None]]().union(*(named_levels(context) for context in contexts))
    return [reference for reference in cited if not known.issuperset(reference.levels)]
