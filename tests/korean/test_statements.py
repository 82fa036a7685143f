"""Statements: what items and rows inherit, predicates with their negation, bounds and the parties of a clause."""

from __future__ import annotations

import pytest

from insurance_rag.korean.bounds import bounded_quantities
from insurance_rag.korean.calculations import unsupported_quantities
from insurance_rag.korean.quantities import quantities
from insurance_rag.korean.statements import analyze
from insurance_rag.korean.wording import meaning

CLAUSE = """제7조(보상하지 않는 손해)
① 회사는 다음의 손해를 보상하지 않습니다.
1. 계약자의 고의로 생긴 손해
2. 지진으로 생긴 손해. 다만, 화재로 번진 손해는 보상합니다.
② 아래의 금액을 지급합니다.
구분 | 지급한도
부상 1급 | 3,000만원
부상 14급 | 50만원"""


def test_items_inherit_the_negation_of_their_lead_sentence() -> None:
    negated = {statement.text: statement.negated for statement in analyze(CLAUSE)}
    assert negated["1. 계약자의 고의로 생긴 손해"]
    assert not negated["다만, 화재로 번진 손해는 보상합니다."]


def test_rows_have_cells_headings_and_the_article() -> None:
    rows = [statement for statement in analyze(CLAUSE) if statement.cells]
    assert [row.cells for row in rows] == [("부상 1급", "3,000만원"), ("부상 14급", "50만원")]
    assert {row.header for row in rows} == {("구분", "지급한도")}
    assert {row.article for row in rows} == {(7, None)}


def test_a_reference_at_the_start_of_a_line_is_not_a_heading() -> None:
    text = "제7조(보상)\n제3조(정의)부터 제5조(통지)까지의 규정에 따릅니다."
    assert {statement.article for statement in analyze(text)} == {(7, None)}


@pytest.mark.parametrize(
    ("text", "concept", "affirmed"),
    [
        ("보험금을 지급하지 않습니다.", "pay", False),
        ("보상 범위에서 제외하지 않습니다.", "include", True),
        ("계약을 해지할 수 없습니다.", "terminate", False),
        ("보장이 없어지지 않고 이어집니다.", "continue", True),
        ("보험료를 내지 않으셔도 됩니다.", "premium", False),
        ("동의 없이 합의하시면 안 됩니다.", "합의", False),
    ],
)
def test_the_meaning_of_the_main_predicate(text: str, concept: str, affirmed: bool) -> None:
    predicate = analyze(text)[-1].predicate
    assert predicate is not None
    assert meaning(predicate) == (concept, affirmed)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("20일 이상", "at_least"),
        ("4일째 입원일부터", "at_least"),
        ("최소 6시간", "at_least"),
        ("150만원을 한도로", "at_most"),
        ("15일이 지나기 전에", "at_most"),
        ("30일이 지나면", "more_than"),
        ("10만원을 넘지 않으면", "at_most"),
        ("80%에 못 미치면", "less_than"),
        ("50만원을 지급", ""),
    ],
)
def test_bounds(text: str, bound: str) -> None:
    assert [found.bound for found in bounded_quantities(text)] == [bound]


def test_dollars_are_not_months() -> None:
    assert quantities("100달러") == []
    assert [quantity.key for quantity in quantities("3달")] == [(3, "개월")]


@pytest.mark.parametrize(
    ("answer", "context", "question", "missing"),
    [
        ("45만원입니다.", "10만원, 15만원, 20만원", "", ["45만원"]),
        ("10만원, 15만원, 20만원을 더해 45만원입니다.", "10만원, 15만원, 20만원", "", []),
        ("280만원입니다.", "자기부담금 30%를 뺍니다.", "400만원을 냈다면 얼마인가요?", []),
        ("하루 안에 지급합니다.", "24시간 이내", "", []),
        ("매년 두 번입니다.", "연 2회", "", []),
        ("가령 500만원이라면 250만원입니다.", "50%", "", []),
        ("500만원 이하라면 지급합니다.", "50%", "", ["500만원"]),
    ],
)
def test_calculated_quantities_are_supported(answer: str, context: str, question: str, missing: list[str]) -> None:
    assert [q.text for q in unsupported_quantities(answer, context, question=question)] == missing
