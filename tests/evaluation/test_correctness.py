"""Whether an answer is judged correct: examples of every problem, other wordings, and what cannot be judged."""

from __future__ import annotations

import time

import pytest

from insurance_rag.core.records import CorrectnessProblemKind
from insurance_rag.evaluation.correctness import Expected, assess

CHUNK = (
    "제7조(치료급여금의 지급사유)\n"
    "① 회사는 피보험자가 암으로 수술을 받은 때에는 수술 1회당 350만원을 지급합니다.\n"
    "② 소액암으로 수술을 받은 때에는 수술 1회당 60만원을 지급하며, 그 밖의 치료급여금은 지급하지 않습니다.\n"
    "③ 요양병원에 입원한 경우 암입원급여금은 제1항 금액의 40%를 지급합니다.\n"
    "④ 회사는 청구서류를 접수한 날부터 7영업일 이내에 보험금을 지급합니다."
)
AMOUNT = Expected(
    question="소액암 수술을 받으면 얼마를 받나요?",
    answerable=True,
    reference="제7조에 따르면 수술 1회당 60만원을 지급합니다.",
    required_numbers=("60만원",),
    gold_texts=(CHUNK,),
)
YES_NO = Expected(
    question="요양병원의 간병비도 보상되나요?",
    answerable=True,
    reference="제8조에 따르면 요양병원에서의 간병비는 보상하지 않습니다.",
    required_numbers=(),
    gold_texts=(
        "제8조(보상하지 않는 손해)\n① 요양병원에서의 간병비는 보상하지 않습니다.\n"
        "② 미용을 위한 수술비는 보상하지 않습니다.",
    ),
)
DEADLINE = Expected(
    question="청약은 언제까지 철회할 수 있나요?",
    answerable=True,
    reference="제17조에 따르면 보험증권을 받은 날부터 15일 이내에 청약을 철회할 수 있으며, "
    "청약한 날부터 30일이 지나면 철회할 수 없습니다.",
    required_numbers=("15일", "30일"),
    gold_texts=(
        "제17조(청약의 철회)\n계약자는 보험증권을 받은 날부터 15일 이내에 철회할 수 있습니다. "
        "다만, 청약한 날부터 30일이 지나면 그러하지 않습니다.",
    ),
)
NOTICE = Expected(
    question="승인 여부는 누가 알려 주나요?",
    answerable=True,
    reference="제21조에 따르면 회사는 알림을 받은 날부터 10일 이내에 계약자에게 승인 여부를 알립니다.",
    required_numbers=("10일",),
    gold_texts=("제21조(알릴 사항)\n회사는 알림을 받은 날부터 10일 이내에 계약자에게 승인 여부를 알립니다.",),
)
UNANSWERABLE = Expected("급성심근경색증 진단비는 얼마인가요?", False, None, (), (CHUNK,))


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (AMOUNT, "60만원입니다."),
        (AMOUNT, "수술 한 번에 육십만 원이 나옵니다."),
        (AMOUNT, "제7조 제2항에 따라 600,000원을 드립니다. 다만 그 밖의 치료급여금은 지급되지 않습니다."),
        (AMOUNT, "수술 1회당 60만원이므로 두 번 받으시면 120만원입니다."),
        (AMOUNT, "60만원을 지급합니다. 지급 시기는 약관에 명시되어 있지 않습니다."),
        (YES_NO, "아니요, 보상되지 않습니다."),
        (YES_NO, "요양병원에서 쓴 간병비는 보상 대상에서 제외됩니다."),
        (YES_NO, "안타깝지만 간병인을 쓰고 내신 돈은 이 보험에서 돌려드리지 않아요."),
        (DEADLINE, "증권을 받고 보름 안에 철회하셔야 합니다. 다만 청약일부터 30일을 넘기면 철회가 불가능합니다."),
        (DEADLINE, "계약자는 증권을 받은 날부터 15일 이내에 청약을 철회할 수 있고, 30일이 지나면 안 됩니다."),
        (NOTICE, "알림을 받은 지 열흘 안에 회사가 계약자에게 통지합니다."),
        (UNANSWERABLE, "약관에 해당 내용이 없습니다."),
        (UNANSWERABLE, "급성심근경색증 진단비는 약관에서 다루지 않습니다."),
    ],
)
def test_correct_answers_in_other_words(expected: Expected, answer: str) -> None:
    found = assess(answer, expected)
    assert found.correct is True, found.problems


@pytest.mark.parametrize(
    ("expected", "answer", "kind"),
    [
        (AMOUNT, " ", "empty"),
        (AMOUNT, "약관에 해당 내용이 없습니다.", "refusal"),
        (AMOUNT, "수술 1회당 350만원을 지급합니다.", "missing_number"),
        (AMOUNT, "수술 1회당 60만원, 입원하시면 90만원을 지급합니다.", "contradicting_number"),
        (AMOUNT, "제9조에 따르면 수술 1회당 60만원을 지급합니다.", "article"),
        (AMOUNT, "60만원을 지급하지 않습니다.", "polarity"),
        (AMOUNT, CHUNK, "focus"),
        (AMOUNT, "수술 1회당 60만원을 지급합니다. Este es un seguro muy importante.", "focus"),
        (AMOUNT, "수술 1회당 60만원을 지급합니\ufffd\ufffd다.", "focus"),
        (YES_NO, "네, 간병비도 보상합니다.", "polarity"),
        (YES_NO, "요양병원에서의 간병비는 보험금이 나옵니다.", "polarity"),
        (YES_NO, "미용을 위한 수술비는 보상하지 않습니다.", "content"),
        (
            DEADLINE,
            "증권을 받고 15일이 지난 뒤에 철회할 수 있고, 청약일부터 30일이 지나면 철회할 수 없습니다.",
            "bound",
        ),
        (NOTICE, "제21조에 따르면 계약자는 알림을 받은 날부터 10일 이내에 회사에 승인 여부를 알립니다.", "roles"),
        (DEADLINE, "증권을 받은 날부터 15일 이내에 피해자가 청약을 철회할 수 있고, 30일이 지나면 안 됩니다.", "roles"),
        (UNANSWERABLE, "진단비는 1,000만원입니다.", "missed_refusal"),
        (UNANSWERABLE, "소액암 수술비는 60만원입니다. 그 밖의 사항은 약관에 해당 내용이 없습니다.", "missed_refusal"),
    ],
)
def test_every_problem(expected: Expected, answer: str, kind: CorrectnessProblemKind) -> None:
    found = assess(answer, expected)
    assert found.correct is False
    assert kind in {problem.kind for problem in found.problems}, found.problems


def test_a_problem_names_what_differs() -> None:
    found = assess("제9조에 따르면 수술 1회당 60만원을 지급합니다.", AMOUNT)
    assert [(problem.kind, problem.text) for problem in found.problems] == [("article", "제9조 ≠ 제7조")]
    assert assess("350만원입니다.", AMOUNT).problems[0].text == "60만원"


def test_a_question_without_reference_cannot_be_judged() -> None:
    found = assess("60만원입니다.", Expected("얼마인가요?", True, None, (), (CHUNK,)))
    assert found.correct is None
    assert found.cannot_judge == "the question has no reference answer"


def test_very_long_answers_are_wrong_and_cost_nothing() -> None:
    started = time.monotonic()
    found = assess("60만원을 지급합니다. " * 8_000, AMOUNT)
    assert found.correct is False
    assert time.monotonic() - started < 1
