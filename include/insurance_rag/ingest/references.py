"""Resolve references to articles (`제33조(보험료의 환급)에 따른`) to the chunks that contain these articles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from insurance_rag.ingest.headings import ArticleNumber
from insurance_rag.korean import Article, articles, remove_whitespace

MAIN_PART = "보통약관"
LOOK_BACK = 60
"""Characters before a reference in which the name of another document is searched for."""

_MAIN = re.compile(r"보통\s?약관의?\s*$")
_OWN = re.compile(r"(?:이|본)\s?(?:보통|특별|추가\s?특별|추가)?\s?(?:약관|특약)의?\s*$")
_OTHER_DOCUMENT = re.compile(
    r"(?:법|법률|령|규칙|규정|기준|협약|조례|약관|특약|[」』》｣⌟])의?\s?(?:\([^()\n]{1,30}\))?\s*$"
)


@dataclass
class ArticleIndex:
    """The chunks of each article of a document."""

    _chunks: dict[tuple[str, ArticleNumber], list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, part: str, number: ArticleNumber, label: str, chunk_id: str) -> None:
        """Add a chunk of an article. `label` is the place of the chunk in the article, e.g. `3` or `3.7`."""
        first = re.match(r"\d+", label)
        self._chunks.setdefault((part, number), []).append((int(first[0]) if first else 0, chunk_id))

    def find(self, part: str, number: ArticleNumber, paragraph: int | None) -> str | None:
        """Return the chunk that contains the paragraph of the article, or the article's first chunk."""
        pieces = self._chunks.get((part, number), [])
        containing = [chunk_id for first, chunk_id in pieces if paragraph and first <= paragraph]
        return containing[-1] if containing else pieces[0][1] if pieces else None

    @property
    def parts(self) -> Sequence[str]:
        return [*dict.fromkeys(part for part, _ in self._chunks)]


def references(text: str, part: str, own: ArticleNumber | None, index: ArticleIndex) -> list[str]:
    """Return the ids of the chunks whose articles the text names, in order, without the article `own`.

    An article without the name of a document is in the same part. Articles of laws are left out.
    """
    names = {remove_whitespace(name): name for name in index.parts}
    found: dict[str, None] = {}
    for reference in articles(text):
        if reference.article is None or text[max(0, reference.start - 1) : reference.start] == "-":  # 제4-36조 of a law
            continue
        number = (reference.article, reference.branch or 0)
        target = _part_of(reference, text, part, names)
        if target is None or (target == part and number == own):
            continue
        if chunk_id := index.find(target, number, reference.paragraph):
            found[chunk_id] = None
    return [*found]


def _part_of(reference: Article, text: str, part: str, names: Mapping[str, str]) -> str | None:
    """Return the part that the reference is about; None for another document."""
    before = text[max(0, reference.start - LOOK_BACK) : reference.start]
    if _OWN.search(before):
        return part
    if _MAIN.search(before):
        return MAIN_PART if MAIN_PART in names.values() else None
    if not _OTHER_DOCUMENT.search(before):
        return part
    return _named(remove_whitespace(before), names)


def _named(before: str, names: Mapping[str, str]) -> str | None:
    ending = [name for name in names if re.search(rf"{re.escape(name)}의?$", before)]
    return names[max(ending, key=len)] if ending else None
