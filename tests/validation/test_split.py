"""The split: nothing of the evaluation gets into the training files, and the questions are frozen."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.validation.helpers import (
    CHUNK_TEXT,
    SETTINGS,
    chunk,
    read_report,
    read_rows,
    reasons,
    row,
    with_dataset,
    write_part,
)

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Question
from insurance_rag.validation.validate import validate_parts

TRAINING_FILES = ("train_dataset.json", "train_dataset_rag.json", "train_dataset_final_v2.json")


def question(gold: str, text: str = "암 진단비는 얼마인가요?") -> Question:
    return Question(question_id=gold, question=text, type="fact", answerable=True, gold_chunk_ids=[gold])


def test_nothing_of_the_evaluation_leaks_into_training(tmp_path: Path) -> None:
    chunks = [
        chunk("gold", source="held.pdf"),
        chunk("same_document", "제9조(해지)\n계약자는 언제든지 계약을 해지할 수 있습니다.", source="held.pdf"),
        chunk("copy", CHUNK_TEXT.replace("제7조", "제8조"), source="other.pdf"),
        chunk("free", "제3조(청구)\n보험금은 서류를 접수한 날부터 3영업일 이내에 지급합니다.", source="other.pdf"),
    ]
    texts = {c.chunk_id: c.text for c in chunks}
    free = {
        "instruction": "보험금은 며칠 안에 받나요?",
        "output": "제3조에 따르면 3영업일 이내에 지급합니다.",
        "evidence": "",
    }
    rows = [
        row(1, chunk_id="gold"),
        row(
            2,
            chunk_id="same_document",
            input=texts["same_document"],
            output="제9조에 따르면 언제든지 해지할 수 있습니다.",
            evidence="",
        ),
        row(3, chunk_id="copy", input=texts["copy"], output=row(3)["output"].replace("제7조", "제8조")),
        row(4, chunk_id="free", input=texts["free"], **free),
        row(5, chunk_id="free", input=texts["free"], **free | {"instruction": "암 진단비는 얼마인가요?"}),
    ]
    part = write_part(tmp_path / "p.json", rows)
    config = with_dataset(unanswerable_share=0.3, distractor_share=1.0)
    validate_parts([part], chunks, tmp_path / "out", config, questions=[question("gold")])
    trained = [r for name in TRAINING_FILES for r in read_rows(tmp_path / "out" / name)]
    assert {r["chunk_id"] for r in trained} == {"free"}
    assert all(i == "free" for r in trained for i in r.get("context_chunk_ids", ["free"]))
    assert not any("3,000만원" in r["text"] for r in trained)
    assert {r["chunk_id"] for r in read_rows(tmp_path / "out/heldout.json")} == {"gold", "same_document"}
    assert sorted(reasons(tmp_path / "out")) == ["leak", "leak"]
    assert read_report(tmp_path / "out").split.leaking_chunks == ["copy"]


def test_the_questions_are_frozen_by_their_hash(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", [row(1)])
    chunks = [chunk("c1"), chunk("gold", "제1조(목적)\n목적입니다.", source="b.pdf")]
    validate_parts([part], chunks, tmp_path / "out", SETTINGS, questions=[question("gold")])
    frozen = read_report(tmp_path / "out").split.questions_sha256
    config = SETTINGS.model_copy(update={"questions_sha256": frozen})
    validate_parts([part], chunks, tmp_path / "out", config, questions=[question("gold")])
    with pytest.raises(InvalidInputError, match="but questions_sha256 is"):
        validate_parts([part], chunks, tmp_path / "out", config, questions=[question("gold", "다른 질문인가요?")])


def test_questions_about_every_document_or_unknown_chunks_are_rejected(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", [row(1)])
    with pytest.raises(InvalidInputError, match="no training data is left"):
        validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS, questions=[question("c1")])
    unknown = [question(f"x{n}") for n in range(5)]
    with pytest.raises(InvalidInputError, match="missing from the chunk file: 'x0', 'x1', 'x2' and 2 more"):
        validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS, questions=unknown)


def test_questions_need_the_chunks_whose_documents_they_hold_out(tmp_path: Path) -> None:
    part = write_part(tmp_path / "dataset_part_1.json", [row()])
    with pytest.raises(InvalidInputError, match="give --chunks"):
        validate_parts([part], None, tmp_path / "out", SETTINGS, questions=[question("c1")])
