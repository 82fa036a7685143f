"""Conditions and antonyms: an answer must not drop a condition of the reference, or state its opposite."""

from __future__ import annotations

import re
from collections.abc import Iterator

from insurance_rag.core.records import CorrectnessProblem
from insurance_rag.evaluation.correctness.expected import Expected
from insurance_rag.evaluation.correctness.stance import verdict
from insurance_rag.korean.statements import Statement, analyze

_WITHOUT = re.compile(
    r"([가-힣]{2,}?)(?:\s?없이|(?:과|와|에)?\s?(?:상관|관계)\s?없이|(?:을|를)?\s?(?:하|받|얻)지\s?않(?:았)?(?:더라도|아도))"
)
_REQUIRES = r"(?:에\s따라|[을를]\s?(?:얻|받|거치)|만|한하여|한정하여|[어아여]야|이?\s?필요)"
"""Follows a noun that a text names as a condition: 동의를 얻은 때에만."""
_PAIRS = """
    많/적 높/낮 크/작 길/짧 최고/최저 최대/최소 상한/하한 먼저/나중 이전/이후 유효/무효 승낙/거절 서면/구두
    전부/일부 모두/일부 증가/감소 줄이/늘리 줄/늘 감액/증액 선택/의무 무료/유료 넘/미치 초과/미달
"""
_OPPOSITES = tuple((pair.split("/")[0], pair.split("/")[1]) for pair in _PAIRS.split())


def find_wrong_conditions(answer: str, expected: Expected) -> Iterator[CorrectnessProblem]:
    """Yield a problem if a condition is dropped (동의 없이) or a word is replaced with its antonym (많은 → 적은).

    An answer that says yes or no as the reference does is not checked: it explains the verdict in words of its own.
    """
    reference = expected.reference or ""
    wanted = verdict(reference, expected.question)
    if wanted and wanted == verdict(answer, expected.question):
        return
    for noun in _contradicted_conditions(answer, reference, expected.question):
        yield CorrectnessProblem(kind="polarity", text=noun)
        return
    for own, other in _antonyms(answer, reference):
        yield CorrectnessProblem(kind="polarity", text=f"{other} ≠ {own}")
        return


def _contradicted_conditions(answer: str, reference: str, question: str) -> Iterator[str]:
    """Yield nouns that one text has with 없이 and the other has as a condition."""
    free, required = _without(answer), _without(reference)
    for noun in sorted(free - required - _without(question)):
        if (
            re.search(rf"{noun}.{{0,8}}?{_REQUIRES}", reference)
            and f"무{noun}" not in reference
            and not _is_denied(noun, reference)
        ):
            yield noun
    for noun in sorted(required - free):
        if noun in answer and not _is_denied(noun, answer):
            yield noun


def _is_denied(noun: str, text: str) -> bool:
    return re.search(rf"{noun}.{{0,15}}?(?:않|없|못|아니|안\s|불|면제|생략|무관)", text) is not None


def _antonyms(answer: str, reference: str) -> Iterator[tuple[str, str]]:
    """Yield words of the reference that the answer replaces with an antonym, neither of them negated."""
    said, right = (frozenset().union(*(_affirmed(s) for s in analyze(text))) for text in (answer, reference))
    denied = {p.lemma for s in analyze(answer) for p in s.predicates if p.negated}
    wanted = {p.lemma for s in analyze(reference) for p in s.predicates if p.negated}
    for pair in _OPPOSITES:
        for own, other in (pair, pair[::-1]):
            replaced = own in right and own not in said and other in said and other not in right
            if replaced and not {own, other} & (denied | wanted) - {"미치"}:
                yield own, other


def _affirmed(statement: Statement) -> frozenset[str]:
    return statement.lemmas | {p.lemma for p in statement.predicates}


def _without(text: str) -> frozenset[str]:
    """Return the nouns that a text has with 없이. A denied statement is left out: 동의 없이 합의하면 안 됩니다."""
    return frozenset(noun for s in analyze(text) if not s.negated for noun in _WITHOUT.findall(s.text))
