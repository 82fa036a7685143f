"""Faults in right answers: grammatical, really wrong, and recognized as wrong by the evaluation."""

from __future__ import annotations

from random import Random

import pytest

from insurance_rag.dataset.faulty_answers import FAULTS, FaultyAnswer, RightAnswer, insert_fault
from insurance_rag.evaluation.correctness import Expected, assess

CHUNK = """제8조(치아 치료비의 지급)
① 회사는 피보험자가 치아 파절로 치료를 받은 경우 계약자에게 안내하고 보험수익자에게 치료비를 지급합니다.
② 치료비는 다음 표와 같습니다.
치료 | 1개당 금액
크라운 | 20만원
임플란트 | 80만원
틀니 | 100만원
③ 계약일부터 180일 이내에 치료를 시작한 경우에는 지급하지 않습니다.
④ 진단서는 치료일부터 30일 이내에 제출하여야 합니다. 사고가 연 3회를 초과하면 초과한 사고는 보상하지 않습니다."""


def right(answer: str, question: str = "튼튼 치아보험은 어떻게 되나요?", others: tuple[str, ...] = ()) -> RightAnswer:
    return RightAnswer(question, answer, (CHUNK,), others)


def variants(kind: str, source: RightAnswer) -> dict[str, FaultyAnswer]:
    """Return the answers with this fault by text, found with many random numbers."""
    found = (insert_fault(kind, source, Random(n)) for n in range(30))
    return {faulty.text: faulty for faulty in found if faulty is not None}


@pytest.mark.parametrize(
    ("kind", "answer", "expected"),
    [
        (
            "negated",
            "아니요, 제8조에 따르면 180일 이내에 치료를 시작하면 지급하지 않습니다.",
            {"네, 제8조에 따르면 180일 이내에 치료를 시작하면 지급합니다."},
        ),
        (
            "roles_swapped",
            "제8조에 따르면 회사는 보험수익자에게 치료비를 지급해요.",
            {"제8조에 따르면 보험수익자는 회사에 치료비를 지급해요."},
        ),
        (
            "number_swapped",
            "제8조에 따르면 진단서는 치료일부터 30일 이내에 제출해야 합니다.",
            {"제8조에 따르면 진단서는 치료일부터 180일 이내에 제출해야 합니다."},
        ),
        (
            "tier_swapped",
            "제8조에 따르면 크라운은 1개당 20만원이에요.",
            {"제8조에 따르면 크라운은 1개당 80만원이에요.", "제8조에 따르면 크라운은 1개당 100만원이에요."},
        ),
        (
            "comparator_flipped",
            "네, 제8조에 따르면 사고가 연 3회를 초과하면 보상하지 않습니다.",
            {"네, 제8조에 따르면 사고가 연 3회 이하이면 보상하지 않습니다."},
        ),
    ],
)
def test_a_fault_changes_one_thing_and_fits_the_grammar(kind: str, answer: str, expected: set[str]) -> None:
    assert set(variants(kind, right(answer))) == expected


def test_an_invented_number_is_in_no_text_of_the_prompt() -> None:
    source = right("제8조에 따르면 틀니는 1개당 100만원입니다.", others=("제9조(한도)\n한도는 200만원입니다.",))
    found = variants("number_invented", source)
    assert len(found) > 2 and not any(number in text for text in found for number in (" 200만원", " 80만원", " 20만원"))


def test_a_number_of_the_case_is_not_the_policys() -> None:
    question = "임플란트를 80만원에 했고 30일 됐어요. 튼튼 치아보험에 진단서를 언제까지 내나요?"
    source = right("제8조에 따르면 치료일부터 30일 이내에 내야 하므로 오늘까지입니다.", question)
    assert variants("number_swapped", source) == variants("number_invented", source) == {}


def test_a_wrong_article_is_shown_or_near_but_never_in_the_chunk() -> None:
    answer = "제8조에 따르면 틀니는 1개당 100만원이고, 제8조 제3항에 예외가 있습니다."
    near = variants("other_article", right(answer))
    assert {text.split("에")[0] for text in near} <= {f"제{n}조" for n in (5, 6, 7, 9, 10, 11)}
    assert not any("제8조" in text for text in near)
    shown = variants("other_article", right(answer, others=("제21조(분쟁)\n조정을 신청할 수 있습니다.",)))
    assert {text.split("에")[0] for text in shown} == {"제21조"}


def test_a_party_that_can_also_be_right_is_not_named() -> None:
    chunk = "제5조(통지)\n계약자 또는 피보험자는 치료 사실을 회사에 알려야 합니다."
    source = RightAnswer("누가 알리나요?", "제5조에 따르면 계약자가 알려야 합니다.", (chunk,))
    assert not any("피보험자" in text for text in variants("roles_swapped", source))


ANSWERS = (
    ("크라운은 얼마예요?", "제8조에 따르면 크라운은 1개당 20만원을 지급해요."),
    ("치료비는 누가 누구에게 주나요?", "제8조에 따르면 회사는 보험수익자에게 치료비를 지급합니다."),
    ("가입 두 달 만에 치료해도 나오나요?", "아니요, 제8조에 따르면 180일 이내에 치료를 시작하면 지급하지 않습니다."),
    ("진단서는 언제까지 내요?", "제8조에 따르면 진단서는 치료일부터 30일 이내에 제출해야 해요."),
    ("사고가 많아도 다 나오죠?", "아니요, 제8조에 따르면 연 3회를 초과하면 초과한 사고는 보상하지 않아요."),
)


@pytest.mark.parametrize("kind", FAULTS.names)
def test_the_evaluation_finds_the_faults(kind: str) -> None:
    found = 0
    for question, answer in ANSWERS:
        expected = Expected(question, True, answer, (), (CHUNK,))
        assert assess(answer, expected).correct
        for text, faulty in variants(kind, right(answer, question)).items():
            found += 1
            assert not assess(text, expected).correct, text
            assert faulty.wrong and all(part in text for part in faulty.wrong)
    assert found
