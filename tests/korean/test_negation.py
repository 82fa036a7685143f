"""Negating a statement, and taking its negation back."""

from __future__ import annotations

import pytest

from insurance_rag.korean.negation import negate


@pytest.mark.parametrize(
    ("sentence", "opposite"),
    [
        ("제3조에 따르면 검진비를 지급합니다.", "제3조에 따르면 검진비를 지급하지 않습니다."),
        ("이월한 금액은 돌려드려요.", "이월한 금액은 돌려드리지 않아요."),
        ("휠체어 대여료는 보상하지는 않습니다.", "휠체어 대여료는 보상합니다."),
        ("계약은 해지되지 않았습니다.", "계약은 해지됐습니다."),
        ("다른 병원으로 옮길 수 있어요.", "다른 병원으로 옮길 수 없어요."),
        ("추가 서류를 내야 합니다.", "추가 서류를 내지 않아도 됩니다."),
        ("틀니는 보상 대상입니다.", "틀니는 보상 대상이 아닙니다."),
        ("치과 의사는 전문의가 아니에요.", "치과 의사는 전문의예요."),
        ("관찰을 위한 입원이어야 해요.", "관찰을 위한 입원이 아니어도 돼요."),
        ("사흘까지는 입원으로 봐요.", "사흘까지는 입원으로 보지 않아요."),
        ("형제는 가족에 들지 않습니다.", "형제는 가족에 듭니다."),
    ],
)
def test_the_opposite_is_grammatical(sentence: str, opposite: str) -> None:
    change = negate(sentence)
    assert change is not None
    assert sentence[: change.start] + change.text + sentence[change.end :] == opposite


@pytest.mark.parametrize(
    "sentence",
    [
        "연 2회까지만 보상해요.",  # 만 limits what is negated
        "면허가 있어야 지급합니다.",
        "틀니란 빠진 이를 대신하는 기구를 말합니다.",
        "비율은 15%입니다.",
        "언제 지급합니까?",
    ],
)
def test_a_statement_without_a_natural_opposite_stays(sentence: str) -> None:
    assert negate(sentence) is None
