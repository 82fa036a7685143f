"""Rules about the question of a row."""

from __future__ import annotations

import re

from insurance_rag.korean import remove_whitespace
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RuleContext, rule

MIN_QUESTION_CHARACTERS = 5

_POINTS_AT_CHUNK = re.compile(
    r"(?:^|[\s,])(?:이|위|본|해당|상기|다음|아래|앞|제시된|제공된|주어진)\s?(?:의\s)?(?:조항|약관|내용|조문|본문|문서|문장|지문|글|규정|항목|표)"
    r"(?!에서\s정한\s(?:질병|재해))|상기\s|앞서\s(?:언급|설명|말)|본문|지문에|윗글"
)


@rule("not_standalone", title="Question not self-contained", title_ko="독립적이지 않은 질문", repairable=True)
def not_standalone(row: Row, context: RuleContext) -> str | None:
    """The row has a question that refers to a text the reader does not have, or that has fewer than 5 characters."""
    if match := _POINTS_AT_CHUNK.search(row.instruction):
        return match.group().strip()
    return row.instruction if len(remove_whitespace(row.instruction)) < MIN_QUESTION_CHARACTERS else None
