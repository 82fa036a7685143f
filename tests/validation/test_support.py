"""Rules about what supports an answer: its evidence and its article, and the product that its question names."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.validation.helpers import CHUNK_TEXT, SETTINGS, chunk, reasons, row, write_part

from insurance_rag.core.records import Chunk
from insurance_rag.generation.teachers.base import Pair
from insurance_rag.validation.pair_check import pair_check
from insurance_rag.validation.rules.question import name_words
from insurance_rag.validation.validate import validate_parts

FIRST, SECOND = (CHUNK_TEXT.splitlines()[n] for n in (1, 2))


def _reason(folder: Path, chunks: list[Chunk], **changed: object) -> str | None:
    """Return why validation drops the row with these changes; None if it is kept."""
    part = write_part(folder / "p.json", [row(1, **changed)])
    validate_parts([part], chunks, folder / "out", SETTINGS)
    found = reasons(folder / "out")
    return found[0] if found else None


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"prompt_version": "qa_v2@0123456789"}, "no_evidence"),
        ({"prompt_version": "own_prompt@0123456789"}, "no_evidence"),
        ({"teacher": "gemini"}, "no_evidence"),
        ({"teacher": "local", "prompt_version": "local_v1@0123456789"}, None),
        ({}, None),  # a row of the reference design
    ],
)
def test_evidence_is_required_where_the_prompt_asks_for_it(
    tmp_path: Path, meta: dict[str, str], reason: str | None
) -> None:
    assert _reason(tmp_path, [chunk("c1")], evidence="", meta=meta) == reason


def test_a_number_of_another_sentence_is_only_allowed_in_a_condition(tmp_path: Path) -> None:
    question = "한빛 든든 암보험에서 암으로 진단받으면 얼마를 받나요?"
    answers = {
        "제7조에 따르면 암 진단비로 3,000만원을 지급합니다.": None,
        "제7조에 따르면 계약일부터 1년이 지난 경우에 암 진단비로 3,000만원을 지급합니다.": None,
        "제7조에 따르면 암 진단비로 금액의 50%를 지급합니다.": "evidence",
        "제7조에 따르면 3,000만원 × 50% = 1,500만원을 암 진단비로 지급합니다.": None,
    }
    found = {a: _reason(tmp_path, [chunk("c1")], instruction=question, output=a, evidence=FIRST) for a in answers}
    assert found == answers


def test_numbers_of_a_second_chunk_need_no_quote(tmp_path: Path) -> None:
    other = chunk("c2", "제12조(청구)\n서류를 접수한 날부터 3영업일 이내에 지급합니다.")
    changed = {
        "output": "제7조와 제12조에 따르면 암 진단비 3,000만원을 서류를 접수한 날부터 3영업일 이내에 지급합니다.",
        "evidence": FIRST,
    }
    assert _reason(tmp_path, [chunk("c1"), other], **changed) == "unsupported_article"
    assert _reason(tmp_path, [chunk("c1"), other], **changed, meta={"other_chunk_id": "c2"}) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("제33조에 따르면 해지한 때에는 보험료를 돌려줍니다.", "unsupported_article"),
        ("제33조에서는 해지한 때에 보험료를 돌려준다고 정하고 있습니다.", "unsupported_article"),
        ("상법 제650조에 따르면 해지한 때에는 보험료를 돌려줍니다.", None),
        ("제31조에 따르면 해지한 때에는 제33조에 따라 보험료를 돌려줍니다.", None),
        ("해지한 때에는 제33조에 따라 보험료를 돌려줍니다.", None),
    ],
)
def test_the_source_of_an_answer_is_the_chunks_own_article(tmp_path: Path, answer: str, reason: str | None) -> None:
    text = "제31조(해지의 효과)\n① 상법 제650조에 따라 해지한 때에는 제33조(보험료의 환급)에 따라 보험료를 돌려줍니다."
    changed = {"instruction": "한빛 든든 암보험을 해지한 때에 보험료를 돌려주나요?", "output": answer, "input": text}
    assert _reason(tmp_path, [chunk("c1", text)], **changed, evidence=text.splitlines()[1]) == reason


def test_an_article_of_the_breadcrumbs_is_the_chunks_own(tmp_path: Path) -> None:
    text = "계약일부터 90일이 지난 날부터 보장합니다. 제33조(보험료의 환급)도 적용합니다."
    changed = {"instruction": "한빛 든든 암보험은 언제부터 보장하나요?", "input": text, "evidence": text[:24]}
    answer = "제33조에 따르면 계약일부터 90일이 지난 날부터 보장합니다."
    assert _reason(tmp_path, [chunk("c1", text)], **changed, output=answer) == "unsupported_article"


def test_a_question_names_a_product_if_there_are_several(tmp_path: Path) -> None:
    question = "진단비는 최초 진단 때 얼마나 나오나요?"
    own, sister = chunk("c1"), chunk("c2", "제1조(목적)\n다친 때 보상합니다.", product="한빛 실손의료보험")
    assert _reason(tmp_path, [own], instruction=question) is None
    assert _reason(tmp_path, [own, sister], instruction=question) == "no_product"
    for name in ("한빛생명에서", "든든에서", "암 보험에서", "암보험에 든 사람이면"):
        assert _reason(tmp_path, [own, sister], instruction=f"{name} {question}") is None


def test_parts_of_a_name_identify_the_product() -> None:
    assert name_words("새봄손해보험 새봄 어린이 실손의료보험 무배당") == {
        *("새봄손해보험", "새봄", "어린이", "실손의료보험", "실손")
    }


def test_generation_requires_evidence_only_of_a_teacher_that_gives_it() -> None:
    question = "한빛 든든 암보험의 암 진단비는 얼마인가요?"
    with_evidence = Pair("fact", question, "제7조에 따르면 암 진단비로 3,000만원을 지급합니다.", FIRST)
    without = Pair("easy", question, "제7조에 따르면 1년 이내에는 제1항 금액의 50%를 지급합니다.")
    assert pair_check(SETTINGS)(chunk("c1"), [without]) == [None]
    assert pair_check(SETTINGS)(chunk("c1"), [with_evidence, without]) == [None, ("no_evidence", "no evidence")]


def test_generation_knows_the_second_chunk_of_a_question() -> None:
    both = chunk("c1", f"{CHUNK_TEXT}\n\n제12조(청구)\n서류를 접수한 날부터 3영업일 이내에 지급합니다.")
    question = "한빛 든든 암보험의 암 진단비는 얼마이고 언제 나오나요?"
    answer = "제7조와 제12조에 따르면 암 진단비 3,000만원을 서류를 접수한 날부터 3영업일 이내에 지급합니다."
    assert pair_check(SETTINGS)(both, [Pair("scenario", question, answer, FIRST)]) == [None]


def test_generation_asks_for_the_product_only_if_there_are_several() -> None:
    pair = Pair("fact", "진단비는 얼마나 나오나요?", "제7조에 따르면 암 진단비로 3,000만원을 지급합니다.", FIRST)
    assert pair_check(SETTINGS)(chunk("c1"), [pair]) == [None]
    assert pair_check(SETTINGS, several_products=True)(chunk("c1"), [pair]) == [("no_product", pair.question)]


def test_a_near_duplicate_that_differs_in_a_word_of_question_and_answer_is_dropped(tmp_path: Path) -> None:
    question = "한빛 든든 암보험에서 암으로 진단확정되면 받는 진단비는 모두 얼마인가요?"
    answer = (
        "제7조에 따르면 피보험자가 암보장개시일 이후에 암으로 진단확정된 때에는 암 진단비로 3,000만원을 지급합니다."
    )
    rows = [
        row(instruction=question, output=answer),
        row(instruction=question.replace("모두", "전부"), output=answer.replace("지급합니다", "드립니다")),
    ]
    validate_parts([write_part(tmp_path / "p.json", rows)], [chunk("c1")], tmp_path / "out", SETTINGS)
    assert reasons(tmp_path / "out") == ["near_duplicate"]
