"""Analyzes Korean policy text into statements: what is said, about whom, with which numbers, and whether it is negated.

A statement is one clause of a sentence, one list item or one row of a table. An item inherits the predicate of its lead
sentence: below `보험금을 지급하지 않습니다. 1. 고의`, the item 고의 is negated too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from insurance_rag.korean.bounds import BoundedQuantity, bounded_quantities
from insurance_rag.korean.morphemes import MAX_LINE, Morpheme, morphemes, prepare
from insurance_rag.korean.predicates import Predicate, predicates
from insurance_rag.korean.roles import Roles, roles
from insurance_rag.korean.sentences import sentences

Article = tuple[int, int | None]
"""Number and branch of an article: 제7조의2 is (7, 2)."""


@dataclass(frozen=True)
class Statement:
    """One clause, list item or table row. `start` and `end` are its position in the analyzed text."""

    text: str
    start: int
    end: int
    sentence: int
    """Number of the sentence, from 0. Clauses of one sentence have the same number."""
    lemmas: frozenset[str]
    """Lemmas of the content words of the clause itself."""
    inherited: frozenset[str]
    """Lemmas of the lead sentence, the column headings and the article's title."""
    predicates: tuple[Predicate, ...]
    """All predicates of the clause, including those of conditions. The main predicate is the last one."""
    lead: Predicate | None
    """The predicate of the lead sentence or title, for items and rows without their own final predicate."""
    roles: Roles
    quantities: tuple[BoundedQuantity, ...]
    article: Article | None
    """The article that contains the statement, if the text has the article's heading."""
    cells: tuple[str, ...] = ()
    """Cells of a table row; the first cell is the row's label."""
    header: tuple[str, ...] = ()
    """Column headings of the table that contains the row."""

    @property
    def predicate(self) -> Predicate | None:
        """The main predicate: the last one of the clause, or the inherited one."""
        own = self.predicates[-1] if self.predicates else None
        if own is not None and own.ending in ("final", "connective"):
            return own
        return self.lead or own

    @property
    def negated(self) -> bool:
        """Whether the main predicate is negated."""
        return self.predicate is not None and self.predicate.negated

    @property
    def all_lemmas(self) -> frozenset[str]:
        """Own and inherited lemmas."""
        return self.lemmas | self.inherited


CONTENT_TAGS = frozenset(["NNG", "NNP", "XR", "SL", "SH", "VV", "VA", "NP"])
_WORDS = """
    하 되 있 없 따르 경우 때 것 수 등 조 항 호 약관 해당 다음 각 이 그 저 말 대하 관하 위하 의하 및 또는 같 않 못하
    아니 이것 그것 제 여기 무엇 얼마 언제 누구 어떻 이렇 그렇 번 가지 바 중 내용 보험 사항 이때 우리 만약 정하 이르 즉
    곧 참고 예
"""
LIGHT_WORDS = frozenset(_WORDS.split())
"""Words that say nothing about the content of a sentence."""
_HEADING = re.compile(r"^\s*(?:제\s?(\d+)\s?조(?:의\s?(\d+))?)\s?[(（［\[]([^)\n]*)[)）］\]](?=\s|$)\s*")
_ITEM = re.compile(r"^\s*(?:\(?\d{1,2}[.)]|[가-하][.)]|[①-⑳]|[-·•])\s*")
_PARAGRAPH = re.compile(r"^\s*[①-⑳]")
_LEADS = re.compile(r"(?:다음|아래|각\s?호|각\s?목|어느\s?하나|다음과\s?같)")
_COORDINATING = frozenset(
    [
        "고",
        "며",
        "으며",
        "지만",
        "으나",
        "나",
        "므로",
        "으므로",
        "니",
        "으니",
        "니까",
        "으니까",
        "는데",
        "은데",
        "ᆫ데",
        "아서",
        "어서",
        "라서",
        "습니다만",
        "ᆸ니다만",
    ]
)
_MANNER = frozenset(["아서", "어서"])
"""Endings that coordinate only before a comma: 줄여서 지급하지 않습니다 is one statement."""
_INSIDE = frozenset(["고", "며", "으며", "아서", "어서", "나", "으나"])


def lemmas(tokens: Iterable[Morpheme]) -> frozenset[str]:
    """Return the content words of a sentence without particles, endings, numbers and words such as 경우.

    >>> sorted(lemmas(morphemes("보험금을 지급합니다.")))
    ['보험금', '지급']
    """
    return frozenset(t.form for t in tokens if t.tag in CONTENT_TAGS and t.form not in LIGHT_WORDS)


def analyze(text: str) -> list[Statement]:
    """Return the statements of a text, in order. Results are cached.

    >>> [(s.text, s.negated) for s in analyze("60만원을 지급하며, 그 밖의 치료비는 지급하지 않습니다.")]
    [('60만원을 지급하며,', False), ('그 밖의 치료비는 지급하지 않습니다.', True)]
    """
    return list(_analyzed(text))


def prepare_texts(texts: Iterable[str]) -> None:
    """Split many texts into morphemes at once. This is optional, and faster than one call of `analyze` per text."""
    prepare(sentence.text[:MAX_LINE] for text in texts for sentence in sentences(text))


@lru_cache(maxsize=4096)
def _analyzed(text: str) -> tuple[Statement, ...]:
    prepare(sentence.text[:MAX_LINE] for sentence in sentences(text))
    return tuple(_statements(text))


@dataclass
class _Scope:
    """What following items and rows inherit."""

    article: Article | None = None
    title: frozenset[str] = frozenset()
    title_predicate: Predicate | None = None
    lead: frozenset[str] = frozenset()
    lead_predicate: Predicate | None = None
    header: tuple[str, ...] = ()
    header_lemmas: frozenset[str] = frozenset()

    def inherited(self, is_row: bool) -> frozenset[str]:
        return self.title | self.lead | (self.header_lemmas if is_row else frozenset())


def _statements(text: str) -> Iterator[Statement]:
    scope = _Scope()
    for number, span in enumerate(sentences(text)):
        line, start = span.text[:MAX_LINE], span.start
        heading = _HEADING.match(line)
        if heading:
            scope = _heading_scope(heading)
            line, start = line[heading.end() :], start + heading.end()
            if not line.strip():
                continue
        if " | " in line:
            cells = tuple(cell.strip() for cell in line.split(" | "))
            if not scope.header:
                scope.header, scope.header_lemmas = cells, lemmas(morphemes(line))
                continue
            yield _row(line, start, number, cells, scope)
            continue
        scope.header, scope.header_lemmas = (), frozenset()
        is_item = _ITEM.match(line) is not None and not _PARAGRAPH.match(line)
        if _PARAGRAPH.match(line):
            scope.lead, scope.lead_predicate = frozenset(), None
        clauses = list(_clauses(line, start, number, scope, is_item))
        yield from clauses
        if clauses and not is_item and _LEADS.search(line):
            scope.lead = frozenset[str]().union(*(clause.lemmas for clause in clauses))
            scope.lead_predicate = clauses[-1].predicate


def _heading_scope(heading: re.Match[str]) -> _Scope:
    tokens = morphemes(heading[3] or "조")
    found = predicates(tokens)
    article = (int(heading[1]), int(heading[2]) if heading[2] else None)
    return _Scope(article, lemmas(tokens), found[0] if found else None)


def _row(line: str, start: int, number: int, cells: tuple[str, ...], scope: _Scope) -> Statement:
    tokens = morphemes(line)
    return Statement(
        line, start, start + len(line), number, lemmas(tokens), scope.inherited(True), tuple(predicates(tokens)),
        scope.lead_predicate, roles(line), tuple(bounded_quantities(line)), scope.article, cells, scope.header,
    )  # fmt: skip


def _clauses(line: str, start: int, number: int, scope: _Scope, is_item: bool) -> Iterator[Statement]:
    """Split a sentence at its coordinating endings and yield a statement for each clause."""
    tokens = morphemes(line)
    found = predicates(tokens)
    numbers = bounded_quantities(line)
    inherited = scope.inherited(False) if is_item else scope.title
    lead = (scope.lead_predicate or scope.title_predicate) if is_item else None
    cuts = [*_cuts(tokens, found), len(tokens)]
    first = 0
    for cut in cuts:
        part = tokens[first:cut]
        if not part:
            continue
        a = 0 if first == 0 else part[0].start
        b = len(line) if cut == len(tokens) else tokens[cut].start
        body = line[a:b]
        shift = len(body) - len(body.lstrip())
        a, body = a + shift, body.strip()
        yield Statement(
            body, start + a, start + a + len(body), number, lemmas(part), inherited,
            tuple(p for p in found if first <= p.start < cut), lead, roles(body),
            tuple(q for q in numbers if a <= q.quantity.start < b), scope.article,
        )  # fmt: skip
        first = cut


def _cuts(tokens: Sequence[Morpheme], found: Sequence[Predicate]) -> Iterator[int]:
    """Yield the positions after coordinating endings. An ending inside a relative clause does not coordinate."""
    for predicate, following in pairwise(found):
        if predicate.connective not in _COORDINATING:
            continue
        end = predicate.end
        has_comma = end < len(tokens) and tokens[end].tag == "SP"
        if predicate.connective in _MANNER and not has_comma:
            continue
        if predicate.connective in _INSIDE and not has_comma and following.ending not in ("final", "connective"):
            continue
        yield end + has_comma
