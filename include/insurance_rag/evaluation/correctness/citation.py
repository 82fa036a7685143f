"""The cited article: an answer that cites an article must cite the one that it rests on."""

from __future__ import annotations

from collections.abc import Iterator

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.stance import main_text
from insurance_rag.korean import articles


def find_wrong_articles(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if the answer cites articles but not the right one. Further articles may be cited next to it.

    An answer without a citation has no problem. Neither has an answer whose right article is unknown, because neither
    the reference nor a gold chunk names one.
    """
    cited = [a for a in articles(main_text(answer)) if a.article is not None]
    right = expected.citable_articles
    if not cited or not right:
        return
    keys = {(a.article, a.branch) for a in cited}
    names = ", ".join(dict.fromkeys(a.text for a in cited))
    allowed = " / ".join(sorted(f"제{n}조" + (f"의{branch}" if branch else "") for n, branch in right))
    if not keys & right:
        yield CorrectnessProblem(kind="article", text=f"{names} ≠ {allowed}")
