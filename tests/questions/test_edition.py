"""A new edition: exactly the questions about changed chunks are flagged, and only unusable ones are replaced."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.questions.conftest import CONFIG, KEYS, MadeSet

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import Chunk, Question
from insurance_rag.core.records.questions import QuestionsCheck, QuestionsReport
from insurance_rag.questions import check_questions, make_questions


def new_edition(path: Path, questions: list[Question]) -> tuple[Path, str, str, str]:
    """Write an edition in which one chunk has another number, one is gone, and one has another id."""
    gold = Counter(i for q in questions if len(q.gold_chunk_ids) == 1 for i in q.gold_chunk_ids)
    several = {i for q in questions if len(q.gold_chunk_ids) > 1 for i in q.gold_chunk_ids}
    with_numbers = {q.gold_chunk_ids[0]: q.required_numbers[0] for q in questions if q.required_numbers}
    changed, number = next((i, n) for i, n in with_numbers.items() if i not in several)
    gone, moved = [i for i in gold if i != changed and i not in several][:2]
    edition = []
    for chunk in read_chunks("sample"):
        if chunk.chunk_id == changed:
            chunk = Chunk.model_validate({**chunk.model_dump(), "text": chunk.text.replace(number, f"9{number}")})
        if chunk.chunk_id == moved:
            chunk = chunk.model_copy(update={"chunk_id": "moved"})
        if chunk.chunk_id != gone:
            edition.append(chunk)
    path.write_text("".join(chunk.model_dump_json() + "\n" for chunk in edition), encoding="utf-8")
    return path, changed, gone, moved


def test_exactly_the_questions_about_changed_chunks_are_flagged(made: MadeSet, tmp_path: Path) -> None:
    questions = read_questions(made.path)
    chunks, *touched = new_edition(tmp_path / "new.jsonl", questions)
    found = check_questions(made.path, chunks, tmp_path / "check.json")
    checked = {q.question_id: q for q in QuestionsCheck.model_validate(read_json(Path(found.uri))).questions}
    flagged = {i for i, q in checked.items() if q.flagged}
    assert flagged == {q.question_id for q in questions if set(q.gold_chunk_ids) & set(touched)}
    assert found.flagged == len(flagged)
    changed, gone, moved = touched
    for question in questions:
        result = checked[question.question_id]
        if gone in question.gold_chunk_ids:
            assert (result.status, result.passes) == ("gone", False)
        if moved in question.gold_chunk_ids:
            assert (result.status, result.passes, result.proposed_gold) == ("moved", True, ["moved"])
        if changed in question.gold_chunk_ids:
            assert result.status in ("changed", "broken")
    assert "broken" in found.statuses


def test_only_unusable_questions_are_replaced(made: MadeSet, tmp_path: Path) -> None:
    questions = read_questions(made.path)
    chunks, _, _, moved = new_edition(tmp_path / "new.jsonl", questions)
    out = tmp_path / "q2.jsonl"
    artifact = make_questions(chunks, out, None, KEYS, CONFIG, made.path, generation=made.generation)
    report = QuestionsReport.model_validate(read_json(Path(artifact.report)))
    after = {q.question_id: q for q in read_questions(out)}
    kept = {q.question_id for q in questions} & after.keys()
    assert len(after) == CONFIG.n == artifact.kept_from_previous + len(report.replaced)
    assert kept == {q.question_id for q in questions} - report.replaced.keys()
    assert set(report.replaced.values()) == {"broken", "gone"}
    assert any("moved" in q.gold_chunk_ids for q in after.values())
    assert not any(moved in q.gold_chunk_ids for q in after.values())
    assert 0 < artifact.calls < made.artifact.calls
    assert check_questions(out, chunks, tmp_path / "check.json").passed == CONFIG.n


def test_what_changed_is_found_from_the_old_chunks_of_a_set_without_report(made: MadeSet, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(made.path.read_bytes())
    chunks, *touched = new_edition(tmp_path / "new.jsonl", read_questions(copy))
    with_old = check_questions(copy, chunks, tmp_path / "check.json", old_chunks="sample")
    about = sum(bool(set(q.gold_chunk_ids) & set(touched)) for q in read_questions(copy))
    assert with_old.flagged == about


def test_a_set_about_another_corpus_is_refused(made: MadeSet, tmp_path: Path) -> None:
    other = [
        c.model_copy(update={"chunk_id": f"x{n}", "text": f"다른 약관 {n}조"})
        for n, c in enumerate(read_chunks("sample"))
    ]
    path = tmp_path / "other.jsonl"
    path.write_text("".join(chunk.model_dump_json() + "\n" for chunk in other), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"none of its .* gold chunks .* is in the chunk file"):
        check_questions(made.path, path, tmp_path / "check.json")
    with pytest.raises(InvalidInputError, match=r"--previous .*none of its"):
        make_questions(path, tmp_path / "q.jsonl", None, KEYS, CONFIG, made.path, generation=made.generation)
