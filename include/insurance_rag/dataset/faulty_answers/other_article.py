"""The fault `other_article`: the answer cites an article that does not state it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from insurance_rag.dataset.faulty_answers.registry import Change, RightAnswer, fault
from insurance_rag.korean import Article, articles
from insurance_rag.korean.articles import cited_as_source, heading_articles

_NUMBER = re.compile(r"(?:제\s?)?\d+\s?조(?:의\s?\d+)?")
NEAR = 3
"""If the prompt shows no other article, one at most this far from the right one is cited."""


@fault("other_article", title="Cites the wrong article")
def other_article(source: RightAnswer) -> Iterator[Sequence[Change]]:
    """Cite another article that the prompt shows, or a near one, in place of the chunk's own article.

    The new article occurs neither in the chunks that the answer is from nor in the question.
    """
    own = heading_articles(source.gold_text)
    cited = [a for a in cited_as_source(source.answer) if (a.article, a.branch) in own]
    if not cited or cited[0].article is None:
        return
    known = {a.article for text in (source.gold_text, source.question, source.answer) for a in articles(text)}
    shown = sorted({number for text in source.others for number, _ in heading_articles(text)} - known)
    near = range(max(1, cited[0].article - NEAR), cited[0].article + NEAR + 1)
    for number in shown or [n for n in near if n not in known]:
        yield cite_instead(source.answer, cited[0], number)


def cite_instead(answer: str, cited: Article, number: int) -> Sequence[Change]:
    """Return the changes that cite article `number` wherever the answer cites the article `cited`."""
    found = [a for a in articles(answer) if (a.article, a.branch) == (cited.article, cited.branch)]
    matches = [(a.start, match.end()) for a in found if (match := _NUMBER.match(answer, a.start))]
    return [Change(start, end, f"제{number}조") for start, end in matches]
