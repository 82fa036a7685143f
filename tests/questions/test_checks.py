"""The checks of questions: the sample questions pass them, and every kind of fault is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from insurance_rag.chunks import read_questions
from insurance_rag.core.records import Chunk, Question
from insurance_rag.korean import quantities
from insurance_rag.questions import check_questions
from insurance_rag.questions.candidate import Candidate, kind_of
from insurance_rag.questions.checks import find_problems
from insurance_rag.questions.corpus import Corpus, make_corpus
from insurance_rag.questions.duplicates import SimilarQuestions
from insurance_rag.questions.required_numbers import required_numbers

QUESTION = Question(
    question_id="q1",
    question="한빛 다시든든 암보험의 암 재활치료 지원금은 통원 한 번에 얼마까지, 1년에 몇 회까지 나오나요?",
    type="fact",
    answerable=True,
    gold_chunk_ids=["hanbit_again_009"],
    reference_answer="제9조에 따르면 통원 1회당 15만원을 한도로 하며 매년 계약해당일부터 1년 동안 40회까지 보상합니다.",
    required_numbers=["15만원", "40회"],
    filters={"company": "한빛생명", "policy_type": "암보험"},
)


def dropped_by(question: Question, corpus: Corpus, evidence: str = "") -> list[str]:
    """Return the names of the checks that reject the question."""
    candidate = Candidate(question, kind_of(question, corpus), evidence)
    return [finding.check for finding in find_problems(candidate, corpus) if finding.drops]


def changed(**fields: object) -> Question:
    return QUESTION.model_copy(update=fields)


def test_the_sample_questions_pass_all_checks(tmp_path: Path) -> None:
    found = check_questions("sample", "sample", tmp_path / "check.json")
    assert (found.questions, found.passed, found.dropped, found.flagged) == (300, 300, {}, 0)
    assert found.kinds == {"fact": 90, "scenario": 71, "easy": 60, "two_chunk": 4, "near_miss": 51, "far": 24}
    assert sum(found.reported.values()) < 0.1 * 300


def test_required_numbers_agree_with_those_of_the_sample(corpus: Corpus) -> None:
    answerable = [question for question in read_questions("sample") if question.answerable]

    def keys(numbers: list[str]) -> set[tuple[float, str]]:
        return {quantity.key for number in numbers for quantity in quantities(number)}

    same = sum(
        keys(required_numbers(q.reference_answer or "", corpus.gold_text(q), q.question)) == keys(q.required_numbers)
        for q in answerable
    )
    assert same / len(answerable) > 0.9


def test_operands_of_a_calculation_are_not_required() -> None:
    reference = "제9조에 따르면 70%를 지급하므로 80만원 × 70% = 56만원입니다."
    assert required_numbers(reference, "70%를 지급합니다.", "원래 80만원이면 실제로 얼마를 주나요?") == []


@pytest.mark.parametrize(
    ("question", "check"),
    [
        (changed(gold_chunk_ids=["hanbit_again_099"]), "unknown_chunk"),
        (changed(gold_chunk_ids=[]), "unknown_chunk"),
        (changed(gold_chunk_ids=["hanbit_again_010"]), "unsupported_reference"),
        (changed(required_numbers=["16만원"]), "unsupported_reference"),
        (changed(reference_answer="제9조에 따르면 16만원을 한도로 하며 40회까지 보상합니다."), "unsupported_reference"),
        (
            changed(reference_answer="제17조에 따르면 15만원을 한도로 하며 40회까지 보상합니다."),
            "unsupported_reference",
        ),
        (changed(question="이 약관의 재활치료 지원금은 통원 한 번에 얼마까지 나오나요?"), "broken_rule"),
        (changed(question="재활치료 지원금은 통원 한 번에 얼마까지 나오나요?"), "other_product"),
        (changed(question="새봄 노후 실손의료보험의 암 재활치료 지원금은 한 번에 얼마인가요?"), "other_product"),
    ],
)
def test_a_faulty_question_is_rejected(question: Question, check: str, corpus: Corpus) -> None:
    assert dropped_by(QUESTION, corpus) == []
    assert check in dropped_by(question, corpus)


def test_evidence_must_be_a_quote(corpus: Corpus) -> None:
    assert "unsupported_reference" in dropped_by(QUESTION, corpus, "통원 1회당 99만원을 한도로")


def test_an_answer_in_another_chunk_of_the_product_makes_the_question_ambiguous(corpus: Corpus) -> None:
    gold = corpus.by_id["hanbit_again_009"]
    summary = Chunk(chunk_id="summary", text=f"가입자 유의사항\n{gold.text}", metadata=gold.metadata)
    assert dropped_by(QUESTION, make_corpus([*corpus.chunks, summary])) == ["ambiguous"]
    other = gold.metadata.model_copy(update={"company": "다른생명", "breadcrumbs": "다른 상품 > 제9조"})
    elsewhere = summary.model_copy(update={"metadata": other})
    assert dropped_by(QUESTION, make_corpus([*corpus.chunks, elsewhere])) == []


def test_an_exact_repeat_does_not_make_the_question_ambiguous(corpus: Corpus) -> None:
    gold = corpus.by_id["hanbit_again_009"]
    repeat = gold.model_copy(update={"chunk_id": "repeat"})
    assert dropped_by(QUESTION, make_corpus([*corpus.chunks, repeat])) == []


def test_an_unanswerable_question_that_the_documents_answer_is_rejected(corpus: Corpus) -> None:
    question = changed(type="unanswerable", answerable=False, reference_answer=None, required_numbers=[])
    literal = question.model_copy(
        update={"question": "다시든든 암보험에서 재활치료 지원금은 통원 1회당 얼마를 한도로 보상하나요?"}
    )
    assert dropped_by(literal, corpus) == ["missed_answer"]
    missing = literal.model_copy(
        update={"question": "다시든든 암보험 재활치료 지원금은 어느 지정 병원에서만 쓸 수 있나요?"}
    )
    assert dropped_by(missing, corpus) == []


def test_a_question_that_repeats_another_one_is_found_unless_its_numbers_differ() -> None:
    asked = SimilarQuestions(0.7, ["든든 암보험은 입원 3일째부터 하루에 얼마를 주나요?"])
    assert asked.find("든든 암보험은 입원 3일째부터 하루에 얼마를 주나요") is not None
    assert asked.find("든든 암보험은 입원 5일째부터 하루에 얼마를 주나요?") is None
    assert asked.find("든든 암보험의 청약은 며칠 안에 철회하나요?") is None
