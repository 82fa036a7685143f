"""Making a set: shares as planned, free reruns, training material left, and clear errors."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.questions.conftest import CONFIG, KEYS, MadeSet

from gemini_simulator import RunningSimulator
from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.cli.main import main
from insurance_rag.config import GenerationConfig, QuestionsConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.records import Chunk
from insurance_rag.core.records.questions import QuestionCandidate, QuestionsReport
from insurance_rag.questions import check_questions, make_questions
from insurance_rag.questions.asked_chunks import choose_asked
from insurance_rag.questions.corpus import Corpus
from insurance_rag.questions.far import far_candidates
from insurance_rag.validation.holdout import choose_holdout


def write_chunks(path: Path, chunks: list[Chunk]) -> Path:
    path.write_text("".join(chunk.model_dump_json() + "\n" for chunk in chunks), encoding="utf-8")
    return path


def test_shares_are_as_planned_and_every_question_passes(made: MadeSet, tmp_path: Path) -> None:
    kinds = made.artifact.kinds
    assert {kind: counts.kept for kind, counts in kinds.items()} == {
        kind: counts.planned for kind, counts in kinds.items()
    }
    assert made.artifact.questions == len(read_questions(made.path)) == CONFIG.n
    assert made.artifact.warnings == []
    found = check_questions(made.path, "sample", tmp_path / "check.json")
    assert (found.passed, found.flagged) == (CONFIG.n, 0)


def test_candidates_name_the_check_that_dropped_them(made: MadeSet) -> None:
    candidates = [QuestionCandidate.model_validate(row) for row in read_jsonl(Path(made.artifact.candidates))]
    kept = {c.question.question_id for c in candidates if c.kept}
    assert kept == {question.question_id for question in read_questions(made.path)}
    assert all(c.reason for c in candidates if not c.kept)
    dropped = Counter(c.reason for c in candidates if any(f.drops for f in c.findings))
    assert dropped["broken_rule"] > 0  # the simulated teacher makes mistakes
    assert not any(f.drops for c in candidates if c.kept for f in c.findings)


def test_documents_remain_for_training(made: MadeSet, corpus: Corpus) -> None:
    report = QuestionsReport.model_validate(read_json(Path(made.artifact.report)))
    assert report.asked_unit == "document" and len(report.units_for_training) >= 2
    assert set(report.documents) <= set(report.asked_units)
    gold = [corpus.by_id[i] for question in read_questions(made.path) for i in question.gold_chunk_ids]
    assert choose_holdout(corpus.chunks, gold, "auto").unit == "document"


def test_the_same_command_again_is_free_and_gives_the_same_set(made: MadeSet) -> None:
    before = made.path.read_bytes()
    again = make_questions("sample", made.path, None, KEYS, CONFIG, generation=made.generation)
    assert (again.calls, made.path.read_bytes()) == (0, before)
    assert made.artifact.calls > 0


def test_training_questions_are_not_asked(made: MadeSet, tmp_path: Path) -> None:
    row = {"instruction": read_questions(made.path)[0].question, "chunk_id": "other"}
    DatasetFolder(tmp_path).training("rag").write_text(json.dumps([row], ensure_ascii=False), encoding="utf-8")
    found = check_questions(made.path, "sample", tmp_path / "check.json", dataset=tmp_path)
    assert found.dropped == {"training_question": 1}
    with pytest.raises(InvalidInputError, match="has no training file"):
        check_questions(made.path, "sample", tmp_path / "check.json", dataset=tmp_path / "missing")


def test_questions_about_one_document_leave_sections_for_training(simulator: RunningSimulator, tmp_path: Path) -> None:
    own = [chunk for chunk in read_chunks("sample") if chunk.chunk_id.startswith("hanbit_cancer")]
    chunks = write_chunks(tmp_path / "one.jsonl", own)
    config = QuestionsConfig(n=20)
    artifact = make_questions(
        chunks, tmp_path / "q.jsonl", None, KEYS, config, generation=GenerationConfig(base_url=simulator.url)
    )
    report = QuestionsReport.model_validate(read_json(Path(artifact.report)))
    assert report.asked_unit == "section" and report.units_for_training
    questions = read_questions(tmp_path / "q.jsonl")
    assert len(questions) == 20 and all(question.filters == {} for question in questions)
    by_id = {chunk.chunk_id: chunk for chunk in own}
    assert choose_holdout(own, [by_id[i] for q in questions for i in q.gold_chunk_ids], "auto").unit == "section"


def test_two_chunks_of_one_section_are_asked_about_if_none_cites_another(
    simulator: RunningSimulator, tmp_path: Path
) -> None:
    chunks = [c for c in read_chunks("sample") if c.chunk_id.startswith("hanbit_cancer")]
    plain = [
        c.model_copy(update={"text": f"제{n}조(보상)\n회사는 {n}만원을 {n}일 안에 지급합니다. " * 3})
        for n, c in enumerate(chunks, 1)
    ]
    artifact = make_questions(
        write_chunks(tmp_path / "plain.jsonl", plain),
        tmp_path / "q.jsonl",
        tmp_path / "run",
        KEYS,
        QuestionsConfig(n=12, max_rounds=1, asked_share=1),
        generation=GenerationConfig(base_url=simulator.url),
    )
    assert read_json(tmp_path / "run" / "round_1" / "plan.json")["config"]["questions"]["two_chunk_neighbors"]
    assert artifact.questions > 6


def test_too_many_questions_are_refused_before_the_teacher_is_asked(tmp_path: Path) -> None:
    chunks = write_chunks(tmp_path / "c.jsonl", read_chunks("sample")[:6])
    with pytest.raises(InvalidInputError, match=r"enough for 30; use --n 30 or fewer"):
        make_questions(chunks, tmp_path / "q.jsonl", None, KEYS, QuestionsConfig(n=200))
    assert not (tmp_path / "q.run").exists()


def test_asked_documents_are_those_that_training_did_not_see(corpus: Corpus) -> None:
    trained = {c.chunk_id for c in corpus.chunks if "daon" in c.chunk_id or "saebom" in c.chunk_id}
    asked = choose_asked(corpus.chunks, QuestionsConfig(asked_share=0.3), 50, trained)
    assert {chunk.metadata.company for chunk in asked.chunks} == {"한빛생명"}


def test_far_questions_are_about_topics_that_the_documents_lack(corpus: Corpus) -> None:
    found = far_candidates(corpus, corpus.chunks, 60, 0)
    assert len(found) == 60
    assert not any(word in c.question.question for c in found for word in ("{", "은(는)"))
    pets = [c.model_copy(update={"text": f"{c.text} 반려견 수술비"}) for c in corpus.chunks]
    about_pets = far_candidates(Corpus(tuple(pets)), pets, 500, 0)
    assert about_pets and not any("강아지" in c.question.question for c in about_pets)


def test_shares_that_do_not_add_up_are_an_error() -> None:
    with pytest.raises(InvalidInputError, match=r"shares.*add up to 1\.2"):
        QuestionsConfig.parse({"shares": {"fact": 0.5}})


@pytest.mark.slow
def test_200_questions_about_the_sample_take_less_than_two_minutes(
    simulator: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GEMINI_API_KEYS", "k1,k2")
    started = time.monotonic()
    out = tmp_path / "q.jsonl"
    arguments = ["--chunks", "sample", "--out", str(out), "--n", "200", "--base-url", simulator.url, "--json"]
    assert main(["questions", "make", *arguments]) == 0
    made = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {kind: counts["kept"] for kind, counts in made["kinds"].items()} == {
        "fact": 60, "scenario": 44, "easy": 40, "two_chunk": 6, "near_miss": 34, "far": 16,
    }  # fmt: skip
    assert main(["questions", "check", "--questions", str(out), "--chunks", "sample", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["passed"] == 200
    assert time.monotonic() - started < 120
