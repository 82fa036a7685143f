"""Checks of what an answer says: polarity, parties, bounds, cited articles, and which number belongs to what."""

from __future__ import annotations

import pytest

from insurance_rag.evaluation.checks import ShownChunk, check_answer

SURGERY = """제8조(수술급여금)
① 회사는 피보험자가 질병으로 수술을 받은 때에는 보험수익자에게 아래의 수술급여금을 지급합니다.
구분 | 표준형 | 고급형
1종 수술 | 20만원 | 30만원
2종 수술 | 50만원 | 80만원
② 계약자는 수술을 받은 날부터 60일 이내에 회사에 알려야 합니다.
③ 미용을 목적으로 하는 수술에는 수술급여금을 지급하지 않습니다."""
HOSPITAL = """제7조(입원급여금)
① 회사는 피보험자가 4일 이상 입원한 때에는 3일을 초과한 입원 1일당 5만원의 입원급여금을 지급합니다.
② 입원급여금은 연 2회를 한도로 합니다.
③ 제1항의 통지를 받은 회사는 30일 이내에 입원급여금을 지급합니다."""
DEATH = """제9조(사망보험금)
① 보험가입금액은 1억 2,000만원으로 하며, 1년 이내에 사망한 때에는 50%를 지급합니다.
② 장례비 10만원, 운구비 15만원, 유족위로금 20만원을 함께 지급합니다."""
CONTEXT = f"{SURGERY}\n\n{HOSPITAL}\n\n{DEATH}"


def checks_of(answer: str, question: str = "", context: str = CONTEXT, answerable: bool | None = True) -> set[str]:
    return {finding.check for finding in check_answer(answer, context, question, answerable).findings}


@pytest.mark.parametrize(
    ("answer", "question"),
    [
        ("1년 안에 사망하셨으므로 절반인 6,000만원을 지급합니다.", "사망하면 얼마를 받나요?"),
        ("3일을 초과한 7일에 대하여 35만원을 지급합니다.", "10일 입원하면 얼마를 받나요?"),
        ("35만원입니다.", "10일 입원하면 얼마를 받나요?"),
        ("입원급여금은 1년에 두 번까지 받으실 수 있습니다.", "1년에 몇 번 받나요?"),
        ("장례비 10만원, 운구비 15만원, 유족위로금 20만원을 더하면 45만원입니다.", "함께 받는 돈은 모두 얼마인가요?"),
        ("예쁘게 보이려고 스스로 받은 수술이라면 돈을 드리지 않아요.", "미용 수술도 보상되나요?"),
        ("나흘 넘게 병원에 계셨다면 사흘이 지난 다음부터 하루에 5만원씩 드려요.", "입원하면 얼마를 받나요?"),
        ("예를 들어 13일 입원하셨다면 10일분인 50만원을 받으십니다.", "입원하면 얼마를 받나요?"),
        ("수술을 받은 날부터 두 달쯤, 곧 60일 안에 회사에 알려 주세요.", "언제까지 알려야 하나요?"),
        ("제8조에 따르면 미용을 목적으로 하는 수술에는 수술급여금을 지급하지 않습니다.", "미용 수술도 보상되나요?"),
        ("아니요, 미용 목적의 수술은 보상 대상에서 제외됩니다.", "미용 수술도 보상되나요?"),
        ("제7조 제1항에 따라 4일 이상 입원하셔야 합니다.", "며칠 입원해야 하나요?"),
        ("수술을 받은 날부터 60일이 지나기 전에 알리셔야 합니다.", "언제까지 알려야 하나요?"),
    ],
)
def test_right_answers_in_free_wording_have_no_findings(answer: str, question: str) -> None:
    assert checks_of(answer, question) == set()


@pytest.mark.parametrize(
    ("answer", "question", "check"),
    [
        (
            "제8조에 따르면 미용을 목적으로 하는 수술에도 수술급여금을 지급합니다.",
            "미용 수술도 보상되나요?",
            "polarity",
        ),
        ("네, 미용을 목적으로 하는 수술도 보상에 포함됩니다.", "미용 목적의 수술도 보상되나요?", "polarity"),
        (
            "피보험자가 4일 이상 입원한 때에는 입원급여금을 지급하지 않습니다.",
            "4일 이상 입원하면 입원급여금을 주나요?",
            "polarity",
        ),
        (
            "회사는 수술을 받은 날부터 60일 이내에 계약자에게 알려야 합니다.",
            "수술은 언제까지 알려야 하나요?",
            "roles",
        ),
        (
            "피보험자가 질병으로 수술을 받은 때에는 보험수익자가 회사에 수술급여금을 지급합니다.",
            "수술급여금은 누가 받나요?",
            "roles",
        ),
        ("4일 이하 입원한 때에 입원급여금을 지급합니다.", "며칠 입원해야 입원급여금을 주나요?", "bound"),
        (
            "수술을 받은 날부터 60일이 지난 뒤에 회사에 알려야 합니다.",
            "수술은 언제까지 알려야 하나요?",
            "bound",
        ),
        (
            "제7조에 따르면 계약자는 수술을 받은 날부터 60일 이내에 회사에 알려야 합니다.",
            "수술은 언제까지 알려야 하나요?",
            "wrong_article",
        ),
        (
            "계약자는 수술을 받은 날부터 30일 이내에 회사에 알려야 합니다.",
            "수술은 언제까지 알려야 하나요?",
            "misattributed",
        ),
        ("수술 한 건에 900만원을 지급합니다.", "수술하면 얼마를 받나요?", "quantity"),
    ],
)
def test_wrong_answers_are_found(answer: str, question: str, check: str) -> None:
    assert check in checks_of(answer, question)


@pytest.mark.parametrize(
    "answer",
    [
        "제공된 약관은 이 부분을 다루지 않습니다.",
        "약관에서 그에 대한 근거가 보이지 않습니다.",
        "약관은 이에 관하여 아무 말도 하고 있지 않습니다.",
        "약관만으로는 알 수 없는 사항이에요. 회사에 직접 확인해 주시기 바랍니다.",
    ],
)
def test_refusals_in_other_words_are_refusals(answer: str) -> None:
    assert checks_of(answer, "보험료는 얼마인가요?", answerable=False) == set()
    verdict = check_answer(answer, CONTEXT, "수술하면 얼마를 받나요?", True)
    assert {finding.check for finding in verdict.findings} == {"false_refusal"}
    assert not verdict.hallucinated


def test_a_refusal_that_asserts_something_is_a_missed_refusal() -> None:
    answer = "약관에 해당 내용이 없습니다. 다만 20만원을 받으실 수 있습니다."
    assert "missed_refusal" in checks_of(answer, "간병비는 얼마인가요?", answerable=False)


def test_a_number_of_another_product_is_found_if_the_products_are_known() -> None:
    question = "가람 든든보험의 대기기간은 며칠인가요?"
    chunks = [
        ShownChunk("제5조(보장개시일)\n① 보장개시일은 계약일부터 120일이 지난 날의 다음 날입니다.", ("가람 든든보험",)),
        ShownChunk("제5조(보장개시일)\n① 보장개시일은 계약일부터 90일이 지난 날의 다음 날입니다.", ("가람 여성보험",)),
    ]
    context = "\n\n".join(chunk.text for chunk in chunks)
    answer = "계약일부터 90일이 지난 날의 다음 날에 보장이 시작됩니다."
    assert {f.check for f in check_answer(answer, context, question, True, chunks=chunks).findings} == {"misattributed"}
    right = answer.replace("90일", "120일")
    assert check_answer(right, context, question, True, chunks=chunks).findings == []
    assert check_answer(answer, context, question, True).findings == []  # the texts do not name the products
