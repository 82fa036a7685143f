"""The fault `comparator_flipped`: a limit on the wrong side of its number, such as 미만 instead of 이상."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from insurance_rag.dataset.faulty_answers.registry import Change, RightAnswer, fault
from insurance_rag.korean import Quantity, remove_whitespace

_NOUNS = {"이상": "미만", "미만": "이상", "이하": "초과", "초과": "이하", "이내": "이후", "이후": "이내"}
"""Words for a limit and their opposites. Both end alike, so that the same particles fit."""
_VERB = re.compile("[하한할했해]")
"""Follows a limit that is a verb: 초과하지 않으면."""
_PERIODS = frozenset(["이내", "이후"])
_TIME = frozenset(["일", "영업일", "개월", "시간"])
"""Units of the numbers that 이후 can follow."""
_VERBS = {"초과하면": "이하이면", "초과하는": "이하인", "초과한": "이하인", "초과할": "이하일"}
_NEGATED = re.compile(r"지\s?(?:않|못|아니)|\s?(?:않|못)")
_AFTER = re.compile(
    r"(?P<particle>을|를)?\s?(?P<verb>초과하면|초과하는|초과한|초과할)|\s?(?P<noun>이상|미만|이하|초과|이내|이후)"
)
_BEFORE = re.compile(r"(최대|최소)\s?$")
_EXTREMES = {"최대": "최소", "최소": "최대"}


@fault("comparator_flipped", title="Puts a limit on the wrong side of its number")
def comparator_flipped(source: RightAnswer) -> Iterator[Sequence[Change]]:
    """Flip the word for a limit next to a number that has this limit in the chunk, too."""
    for quantity in source.stated:
        before = _BEFORE.search(source.answer, 0, quantity.start)
        if before and not source.answer.startswith("까지", quantity.end):
            yield [Change(before.start(1), before.end(1), _EXTREMES[before[1]])]
        after = _AFTER.match(source.answer, quantity.end)
        if after is None or _NEGATED.match(source.answer, after.end()):
            continue
        if not _is_limited(source, quantity, after["noun"] or "초과"):
            continue
        if after["verb"]:
            yield [Change(after.start(), after.end(), f" {_VERBS[after['verb']]}")]
        elif not _VERB.match(source.answer, after.end()) and (quantity.unit in _TIME or after["noun"] not in _PERIODS):
            yield [Change(after.start("noun"), after.end("noun"), _NOUNS[after["noun"]])]


def _is_limited(source: RightAnswer, quantity: Quantity, word: str) -> bool:
    """Return whether the chunk limits the same number with the same word."""
    text = remove_whitespace(source.gold_text)
    number = re.escape(remove_whitespace(quantity.text))
    return re.search(rf"(?<![\d,]){number}[을를]?{word}", text) is not None
