"""Recognize headings of Korean policies: articles (조), divisions (편, 장, 관, 절), parts (약관), appendices (별표).

A line that begins like a heading can be a reference inside a sentence (`제5조(...)에 따라`) or part of a quoted law.
The functions here look at one line only; `numbering` decides with the numbers of all candidates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from insurance_rag.ingest.paragraphs import BRACKETS, Paragraph, closing_bracket, normalize_spaces

MAX_TITLE = 60
"""Longer lines are text."""

ArticleNumber = tuple[int, int]
"""Number and branch: (4, 0) for 제4조, (4, 2) for 제4조의2."""

_ARTICLE = re.compile(
    r"^(?P<open>[\[【<〈《◆■●▶□○◇◎▣※\s]{0,3})제\s*(?P<n>\d{1,4})\s*조(?:\s*의\s*(?P<m>\d{1,2})(?!\d))?\s*"
)
_CONTENTS_LINE = re.compile(r"(?:[.·‥…∙･ㆍ_]\s?){3,}\s*\d{0,4}$|[)\]】>]\s+\d{1,4}$")
# After the number or title of a reference: a particle, another reference, or what a sentence says about it.
_REFERENCE = re.compile(
    r"(?:에서?(?:도|는|의)?|의|을|를|은|는|이|가|과|와|로|으로|부터|까지|에게)(?:\s|,|$)|"
    r"(?:에|에서|의|을|를|과|와)\s?(?:따|의하|의거|정한|정하|규정|불구|해당|준용|관하|관한|대하|대한|한하|한정|기재|명시|"
    r"열거|근거|도|서|적용|위반)|[,、․·]|(?:및|또는|내지|혹은|부터|각\s?호|본문|단서|후단|전단|중|상의?)(?:\s|$|에|의|,)|"
    r"(?:에도|에서|에는|에게|에의|으로|이나|이라)|~|제\s?\d+\s?[조항호목]|\d+\s?항|[\"'”’」』]"
)
_BODY_AFTER_PARTICLE = re.compile(r"이\s(?:계약|보험|약관|특별|특약|추가|조항|담보|회사)")
_UNBRACKETED_TITLE = re.compile(r"[.:：]?\s*(?P<title>[^.。①\n]{2,40}?)\s*$")
_LIST_MARK = re.compile(r"[①-⑳\-•·※*☞→]")
_TERMINATOR = re.compile(r"(?:[.。!?]|다)[\"'”’)\]】]*$")

_DIVISION = re.compile(
    r"^[\[【<〈《◆■●▶□○◇\s]{0,3}제\s*(?P<n>\d{1,3}|[ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ]|[일이삼사오육칠팔구십])\s*(?P<kind>[편장관절])"
    r"(?:\s*의\s*(?P<m>\d{1,2}))?(?P<rest>(?:[\s.:：(\[【].*|(?![에의을를은는이가과와및또내부까])[가-힣].*)?)$"
)
_DIVISION_REFERENCE = re.compile(r"^\s*(?:에|의|을|를|은|는|이|가|과|와|및|또는|내지|부터|까지|제\d)(?:\s|서|도|$)")
DIVISION_LEVELS = "편장관절"
_ANGLE_BRACKETS = str.maketrans("<>", "〈〉")

_PART = re.compile(
    r"^(?P<open>[\[【<〈《〔◆■●▶□○◇★\s]{0,3})(?P<number>(?:제?\s?\d{1,3}(?:-\d{1,3}){0,2}\s?[.)장편]?|[가-하IVXⅠ-Ⅹ]\s?[.)])\s+)?"
    r"(?P<title>[^.。?!:：;]{0,60}?(?:보통\s?약관|특별\s?약관|추가\s?약관|부가\s?약관|주계약|주\s?보험|특약|특칙|약관))"
    r"(?P<suffix>(?:\s*(?:[\(\[（〔<][^()\[\]（）]{0,40}(?:\([^()]*\)[^()]{0,20})?[\)\]）〕>]|[ⅠⅡⅢⅣⅤIVX∥\d]{1,3}형?|[A-Z]|약관))*)"
    r"\s*(?P<close>[\]】>〉》〕]?)$"
)
_NOT_PART = re.compile(
    r"^(?:이|본|그|해당|각|위|다음|모든|당사|상기|아래|동|및|또는|의|에|을|를|은|는|가|과|와)\s|"
    r"(?:에\s?따른|에\s?의한|에서\s?정한|\s(?:이|그|본|해당|상기|및|또는))\s?(?:보통|특별|추가)?\s?(?:약관|특약)|"
    r"^[①-⑳\-•·∙ㆍ※*\"'“‘「]|^\(?주\d?\)"
)
_APPENDIX = re.compile(
    r"^[\[【<〈《(（〔「『■◆●▶□○※\s]{0,3}(?P<kind>별\s?표|부\s?표|별\s?첨|별\s?지|붙\s?임|첨\s?부|부\s?록|부\s?칙|참\s?고)"
    r"\s*(?:제\s*)?(?P<n>\d{1,3}(?:-\d{1,3})?|[ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ가-하](?![가-힣]))?(?:\s*의\s*\d+)?\s*(?:호)?\s*"
    r"(?P<close>[\]】>〉》)）〕」』]?)\s*(?P<title>.*)$"
)
_APPENDIX_REFERENCE = re.compile(
    r"^(?:[‘'“\"「『(][^’'”\"」』)]{0,60}[’'”\"」』)])?\s*(?:에서?|의|을|를|은|는|이|가|과|와|및|또는|참조|참고|로|으로|,|에\s?따|에\s?정|중)(?:\s|정|따|기|의|$|,|는|서)"
)
_LAWS = re.compile(r"^\W{0,3}.{0,20}(?:인용|관련|관계|참조)\s?(?:된|한)?\s?(?:법|법령|법규|법률|조문|규정)[^.]{0,20}$")
PRELUDES = re.compile(
    r"^\W{0,4}(?:\d{1,2}[.)]\s*)?(?:보험)?\s*(?:가입자\s?유의\s?사항|(?:상품\s?)?주요\s?내용\s?요약서|주요\s?내용|(?:보험\s?)?용어\s?(?:의\s?)?해설|"
    r"(?:쉬운\s?)?용어\s?(?:풀이|설명|정리)|약관\s?(?:이용\s?)?(?:가이드북?|요약서?|해설)|유의\s?사항|(?:자주\s?발생하는\s?)?민원\s?(?:사례|예방)|"
    r"(?:약관을?\s?)?(?:쉽게\s?)?이용할?\s?(?:수\s?있는\s?)?(?:약관)?\s?(?:가이드북|방법)|소비자\s?(?:보호|유의)[^.]{0,20}|보험금\s?청구\s?(?:절차|안내|서류)[^.]{0,15}|"
    r"개인\s?\(?신용\)?\s?정보[^.]{0,25}|시각화된[^.]{0,12}|약관의?\s?구성[^.]{0,12}|상품의?\s?특이\s?사항[^.]{0,10})\s*\W{0,3}$"
)


@dataclass(frozen=True)
class ArticleHeading:
    """A line that may be the heading of an article."""

    index: int
    """Index of the paragraph."""
    number: ArticleNumber
    title: str
    body: str
    """Text after the heading on the same line."""
    score: float
    """How much the line by itself looks like a heading; negative for a reference."""

    @property
    def label(self) -> str:
        """The number as it is written in ids, e.g. `제4조의2`."""
        return article_label(self.number)

    @property
    def text(self) -> str:
        return f"{self.label}({self.title})" if self.title else self.label


def without_separator(heading: str) -> str:
    """Return a heading without `<` and `>`, because `>` separates the headings of breadcrumbs.

    >>> without_separator("<부표1> 단기요율표")
    '〈부표1〉 단기요율표'
    """
    return heading.translate(_ANGLE_BRACKETS)


def article_label(number: ArticleNumber) -> str:
    """Return the number of an article in the usual form.

    >>> article_label((4, 2))
    '제4조의2'
    """
    return f"제{number[0]}조" + (f"의{number[1]}" if number[1] else "")


def article_heading(paragraph: Paragraph, index: int) -> ArticleHeading | None:
    """Return the heading of an article with which the paragraph may begin."""
    found = None if paragraph.is_table else _ARTICLE.match(paragraph.text)
    if not found or _CONTENTS_LINE.search(paragraph.text):
        return None
    rest = paragraph.text[found.end() :]
    if found["open"].strip() and (stripped := _close_outer(found["open"].strip(), rest)) is not None:
        rest = stripped
    title, body, score = _title_and_body(rest, spaced=paragraph.text[found.end() - 1].isspace())
    if paragraph.level is not None:
        score += 2
    return ArticleHeading(index, (int(found["n"]), int(found["m"] or 0)), _clean_title(title), body, score)


def _clean_title(title: str) -> str:
    """Return a title without `>`, and with syllables that were set apart joined: `목 적`."""
    return normalize_spaces(without_separator(title))


def _close_outer(opened: str, rest: str) -> str | None:
    """Remove the bracket that closes one which was opened before the number: `【제1조(목적)】`."""
    closing = BRACKETS.get(opened[-1])
    at = rest.rfind(closing) if closing else -1
    return f"{rest[:at]} {rest[at + 1 :]}".strip() if at >= 0 else None


def _title_and_body(rest: str, spaced: bool) -> tuple[str, str, float]:
    """Divide what follows the number into title and body, and return how much that looks like a heading."""
    if rest[:1] in BRACKETS and (end := closing_bracket(rest, 0)) is not None:
        title, after = rest[1:end].strip(), rest[end + 1 :]
        body = after.strip().removeprefix(":").strip()
        if not title or len(title) > 2 * MAX_TITLE:
            return title, body, -3.0
        return title, body, _score_after_title(after) - (len(title) > MAX_TITLE)
    if not rest:
        return "", "", 0.5
    if rest[0] in "①1":
        return "", rest, 1.5
    if _REFERENCE.match(rest):
        return "", rest, -6.0
    found = _UNBRACKETED_TITLE.match(rest)
    if found and not _TERMINATOR.search(rest):
        return found["title"].strip(), "", 1.0 if spaced else -1.0
    return "", rest, -3.0


def _score_after_title(after: str) -> float:
    body = after.strip()
    if not body:
        return 3.0
    if body[0] in "①:" or _BODY_AFTER_PARTICLE.match(body):
        return 3.0
    if _REFERENCE.match(body):
        return -6.0 if after[0] == body[0] else -4.0
    return 2.5 if after[0].isspace() else 0.5


@dataclass(frozen=True)
class DivisionHeading:
    """The heading of a division that contains articles, e.g. `제1관 목적`."""

    level: int
    """Position in `DIVISION_LEVELS`, from 0 for 편."""
    text: str


def division_heading(paragraph: Paragraph) -> DivisionHeading | None:
    """Return the heading of a 편, 장, 관 or 절; None if the paragraph is not one."""
    if paragraph.is_table or len(paragraph.text) > MAX_TITLE or _CONTENTS_LINE.search(paragraph.text):
        return None
    found = _DIVISION.match(paragraph.text)
    if not found or _DIVISION_REFERENCE.match(found["rest"]) or re.search(r"[다음함]\.$|[,]$", paragraph.text):
        return None
    branch = f"의{found['m']}" if found["m"] else ""
    title = found["rest"].strip(" .:：()[]【】<>〈〉《》")
    if found["rest"].strip().startswith("(") and title.count("(") > title.count(")"):
        title += ")"
    return DivisionHeading(
        DIVISION_LEVELS.index(found["kind"]),
        without_separator(f"제{found['n']}{found['kind']}{branch} {title}".strip()),
    )


@dataclass(frozen=True)
class PartHeading:
    """A line that may be the name of a part of the policy: 보통약관, a 특별약관 or 특약, or the policy as a whole."""

    title: str
    numbered: bool
    """Whether a number such as `1-1.` precedes the name."""


def part_heading(paragraph: Paragraph) -> PartHeading | None:
    """Return the name of a part with which a line may consist entirely; None if it cannot be one."""
    text = paragraph.text
    if paragraph.is_table or len(text) > MAX_TITLE + 20 or _CONTENTS_LINE.search(text) or _NOT_PART.search(text):
        return None
    found = _PART.match(text)
    if not found:
        return None
    title = f"{found['title']}{found['suffix'] or ''}".rstrip("∥| ").strip(" -–")
    return PartHeading(without_separator(title), bool(found["number"])) if title else None


@dataclass(frozen=True)
class AppendixHeading:
    """The heading of an appendix, e.g. `<부표1> 단기요율표`."""

    label: str
    """Kind and number, e.g. `부표1`."""
    title: str
    text: str
    """The whole heading."""


def appendix_heading(paragraph: Paragraph) -> AppendixHeading | None:
    """Return the heading of an appendix; None if the paragraph is text or only mentions one."""
    text = paragraph.text
    if paragraph.is_table or len(text) > 2 * MAX_TITLE or _CONTENTS_LINE.search(text):
        return None
    found = _APPENDIX.match(text)
    if not found or _APPENDIX_REFERENCE.match(found["title"]) or re.search(r"[다음함]\.$|[,]$|참조\)?$", text):
        return None
    kind, title = found["kind"].replace(" ", ""), found["title"].strip()
    bare = text[0] not in "[【<〈《(（〔「『■◆●▶□○"
    if bare and not found["n"] and (title or kind in ("참고", "첨부", "붙임")):  # `부록 및 약관을 ...`
        return None
    if kind == "참고" and not found["n"]:
        return None
    return AppendixHeading(kind + (found["n"] or ""), without_separator(title), without_separator(text))


def is_laws_heading(paragraph: Paragraph) -> bool:
    """Return whether a line announces an appendix with quoted laws, e.g. `약관에서 인용된 법·규정`.

    Within an article, `【관련법규】` is the title of a box.
    """
    text = paragraph.text
    found = len(text) <= MAX_TITLE and _LAWS.match(text) is not None and not _TERMINATOR.search(text)
    return found and ("약관" in text or paragraph.starts_page)


def is_short_line(paragraph: Paragraph) -> bool:
    """Return whether a line can be a heading: it is short, and neither a sentence nor an item of a list."""
    text = paragraph.text
    return len(text) <= MAX_TITLE and not _LIST_MARK.match(text) and not _TERMINATOR.search(text)


def is_title_line(paragraph: Paragraph, body_size: float) -> bool:
    """Return whether a short line is a heading by its size, its usual wording, or the level that its format gives."""
    if paragraph.is_table or len(paragraph.text) > MAX_TITLE:
        return False
    if paragraph.level is not None:
        return True
    large = body_size > 0 and paragraph.size >= 1.15 * body_size
    return is_short_line(paragraph) and (large or PRELUDES.match(paragraph.text) is not None)
