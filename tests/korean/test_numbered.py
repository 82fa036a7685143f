"""Sentence numbers in a text, and quotes by number."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insurance_rag.korean.numbered import number_sentences, quote, strip_marks

CLAUSE = "제7조(지급)\n① 1년 이내에는 4.0%를 지급합니다. 다만, 제외합니다.\n1. 고의\n\n2. 전쟁"


def test_each_sentence_and_each_line_has_its_number() -> None:
    assert number_sentences(CLAUSE) == (
        "[1] 제7조(지급)\n[2] ① 1년 이내에는 4.0%를 지급합니다. [3] 다만, 제외합니다.\n[4] 1. 고의\n\n[5] 2. 전쟁"
    )


@given(st.text(alphabet="가다요. \n12①", max_size=80))
def test_numbering_only_inserts_marks_and_every_quote_is_verbatim(text: str) -> None:
    numbered = number_sentences(text)
    for number in range(1, len(re.findall(r"\S", text)) + 1):
        numbered = numbered.replace(f"[{number}] {quote(text, [number])}", quote(text, [number]), 1)
    assert numbered == text
    assert quote(text, [3, 1]) in text


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([2], "① 1년 이내에는 4.0%를 지급합니다."),
        ([3, 2], "① 1년 이내에는 4.0%를 지급합니다. 다만, 제외합니다."),
        ([2, 4], "① 1년 이내에는 4.0%를 지급합니다. 다만, 제외합니다.\n1. 고의"),
        ([99, 4, 0, -1], "1. 고의"),
        ([99], ""),
        ([], ""),
    ],
)
def test_numbers_become_a_verbatim_quote(numbers: list[int], expected: str) -> None:
    assert quote(CLAUSE, numbers) == expected


def test_a_quote_does_not_skip_a_long_passage() -> None:
    text = f"하나입니다. 둘입니다. {'가' * 600}다. 넷입니다. 다섯입니다."
    assert quote(text, [4, 1, 5]) == "넷입니다. 다섯입니다."
    assert quote(text, [2, 3]) == f"둘입니다. {'가' * 600}다."


def test_a_quote_with_marks_becomes_verbatim_again() -> None:
    quoted = number_sentences(CLAUSE)[18:60]
    assert strip_marks(quoted) in CLAUSE
    assert strip_marks(number_sentences(CLAUSE)) == CLAUSE
    assert strip_marks("지급합니다. [3]") == "지급합니다. "
    assert strip_marks("[별표 1] 표3[2] 금액") == "[별표 1] 표3[2] 금액"
