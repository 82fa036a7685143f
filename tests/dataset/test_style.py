"""The style of the kept rows, as the dataset report shows it."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest
from tests.dataset.corpus import qa_row
from tests.validation.helpers import CHUNK_TEXT, SETTINGS, chunk, read_report, row, write_part

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.records import QARow, Question
from insurance_rag.dataset import style
from insurance_rag.dataset.style import content_words, copied_share, measure_style, product_words
from insurance_rag.korean.preambles import is_formatted
from insurance_rag.validation.validate import validate_parts

SAMPLES = Path(style.__file__).parents[1] / "samples"
PRODUCTS = {"c1": "한빛생명 한빛 든든 암보험"}


def styled(question: str, answer: str, **changed: object) -> QARow:
    return qa_row(instruction=question, output=answer, **changed)


def test_the_examples_in_the_docstrings_are_right() -> None:
    assert doctest.testmod(style).failed == 0


def test_words_of_the_clause_count_and_the_product_does_not() -> None:
    copied = styled("한빛 든든 암보험에서 암보장개시일 이후에 진단확정된 때에는?", "답입니다.")
    own = styled("든든 암보험 들었는데 덜컥 아프다 하네요, 돈은 나와요?", "답입니다.")
    assert measure_style([copied], PRODUCTS).copied_share == 1
    assert measure_style([own], PRODUCTS).copied_share == pytest.approx(0, abs=0.1)
    assert measure_style([copied, own], PRODUCTS).by_type["fact"].copied_share == pytest.approx(0.5, abs=0.05)


def test_the_sample_questions_are_worded_more_freely_the_easier_they_are() -> None:
    texts, names = {}, {}
    for line in (SAMPLES / "chunked_data.jsonl").read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        texts[fields["chunk_id"]] = fields["text"]
        names[fields["chunk_id"]] = f"{fields['metadata']['company']} {fields['metadata']['breadcrumbs'].split('>')[0]}"
    shares: dict[str, list[float]] = {"fact": [], "scenario": [], "easy": []}
    for line in (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        question = Question.model_validate_json(line)
        if question.answerable:
            gold = question.gold_chunk_ids[0]
            words = content_words(question.question, product_words(names[gold]))
            shares[question.type].append(copied_share(words, texts[gold]) or 0.0)
    fact, scenario, easy = (sum(values) / len(values) for values in shares.values())
    assert 0.6 > fact > scenario > easy > 0.15


def test_answers_are_counted_by_their_beginning() -> None:
    answers = [
        "네, 제7조에 따르면 지급합니다.",
        "예. 지급합니다.",
        "아니요, 제7조에 따르면 지급하지 않습니다.",
        "예를 들어 3일이면 지급합니다.",
        "네 번째 암부터는 제외합니다.",
        "약관에 해당 내용이 없습니다.",
    ]
    summary = measure_style([styled("질문", answer) for answer in answers], PRODUCTS)
    assert (summary.rows, summary.yes_answers, summary.no_answers, summary.refusals) == (6, 2, 1, 1)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("안녕하세요. 제7조에 따르면 지급합니다.", True),
        ("문의하신 내용에 대해 답변드립니다. 제7조에 ...", True),
        ("**답변:** 제7조에 따르면 지급합니다.", True),
        ("답변: 지급합니다.", True),
        ("제7조에 따르면\n- 암\n- 상해", True),
        ("제7조에 따르면 3,000만원 × 50% = 1,500만원을 지급합니다.", False),
        ("설명 의무를 다하지 않으면 취소할 수 있습니다.", False),
    ],
)
def test_preambles_and_markdown_are_found(answer: str, expected: bool) -> None:
    assert is_formatted(answer) == expected


def test_the_planned_styles_are_counted() -> None:
    meta = {"persona": "60대 은퇴자", "register": "편한 구어체", "difficulty": "쉬움", "form": "calculation"}
    rows = [
        styled("얼마 받나요", "3,000만원 × 50% = 1,500만원입니다.", meta=meta),
        styled("얼마 받나요", "제7조에 따르면 3,000만원의 절반인 50%를 곱한 1,500만원입니다.", meta=meta),
        styled("얼마 받나요", "1,500만원입니다.", meta=meta | {"persona": ["unreadable"]}, evidence=""),
        styled("어떤 때 받나요", "지급합니다.", meta={"form": ""}),
    ]
    summary = measure_style(rows, PRODUCTS)
    assert (summary.calculations, summary.calculations_with_steps) == (3, 2)
    assert summary.personas == {"60대 은퇴자": 2}
    assert summary.registers == {"편한 구어체": 3}
    assert summary.forms == {"calculation": 3}
    assert (summary.openings, summary.top_opening_share) == (2, 0.75)
    assert summary.evidence_characters == len(qa_row()["evidence"])


def test_no_rows_have_no_means() -> None:
    summary = measure_style([], {})
    assert (summary.rows, summary.copied_share, summary.top_opening_share) == (0, None, None)


def test_the_report_and_the_card_show_the_style_of_the_kept_rows(tmp_path: Path) -> None:
    meta = {"register": "편한 구어체", "form": "yes"}
    answers = ("네, 제7조에 따르면 3,000만원을 지급합니다.", "제7조에 따르면 1,500만원")
    rows = [row(n, output=answer, meta=meta) for n, answer in enumerate(answers)]  # the second answer is cut off
    validate_parts([write_part(tmp_path / "dataset_part_1.json", rows)], [chunk("c1")], tmp_path / "out", SETTINGS)
    report = read_report(tmp_path / "out")
    assert (report.kept, report.style.rows, report.style.yes_answers) == (1, 1, 1)
    assert report.style.registers == {"편한 구어체": 1}
    bigrams = content_words(rows[0]["instruction"], ("한빛", "든든", "암보험"))
    assert report.style.copied_share == pytest.approx(copied_share(bigrams, CHUNK_TEXT), abs=1e-4)
    card = DatasetFolder(tmp_path / "out").card.read_text(encoding="utf-8")
    assert "Registers: 편한 구어체 (1)." in card
    assert "Personas: not planned." in card
