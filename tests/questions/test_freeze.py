"""Review and freeze: decisions are applied, and a frozen set never changes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.questions.conftest import MadeSet

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.cli.main import main
from insurance_rag.config import ValidationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import Question
from insurance_rag.questions.freeze import freeze_questions
from insurance_rag.review.records import Decision, ReviewAction, question_key
from insurance_rag.review.store import ReviewStore
from insurance_rag.validation.contamination import make_split


def decide(folder: Path, about: Question, action: ReviewAction, reason: str = "", **fields: str) -> None:
    key = question_key(about.question, about.gold_chunk_ids)
    decision = Decision(kind="question", key=key, action=action, reason=reason, fields=fields, reviewer="kim")
    ReviewStore(folder, "question").decide(decision, 0)


def test_decisions_are_applied(made: MadeSet, tmp_path: Path) -> None:
    first, second, third, *_ = [q for q in read_questions(made.path) if q.answerable and q.required_numbers]
    decide(tmp_path, first, "reject", "doubtful")
    decide(tmp_path, second, "edit", question=f"{second.question} 알려 주세요.", required_numbers="")
    decide(tmp_path, third, "approve")
    frozen = freeze_questions(made.path, tmp_path / "f.jsonl", reviews=tmp_path)
    after = {q.question: q for q in read_questions(tmp_path / "f.jsonl")}
    assert first.question not in after and third.question in after
    edited = after[f"{second.question} 알려 주세요."]
    assert edited.required_numbers == [] and edited.question_id != second.question_id
    assert (frozen.approved, frozen.edited, frozen.rejected) == (1, 1, 1)
    assert frozen.questions == len(after) == made.artifact.questions - 1
    assert sum(frozen.kinds.values()) == frozen.questions


def test_the_hash_is_the_one_that_validation_expects(made: MadeSet, tmp_path: Path) -> None:
    frozen = freeze_questions(made.path, tmp_path / "f.jsonl")
    config = ValidationConfig(questions_sha256=frozen.questions_sha256)
    split = make_split(read_chunks("sample"), read_questions(tmp_path / "f.jsonl"), config)
    assert split.summary.questions_sha256 == frozen.questions_sha256
    assert read_json(tmp_path / "f.manifest.json")["questions_sha256"] == frozen.questions_sha256


def test_undecided_questions_are_refused_if_a_review_is_required(made: MadeSet, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=f"{made.artifact.questions} questions have no decision"):
        freeze_questions(made.path, tmp_path / "f.jsonl", reviews=tmp_path, require_review=True)
    assert not (tmp_path / "f.jsonl").exists()


def test_an_edit_that_contradicts_itself_is_refused(made: MadeSet, tmp_path: Path) -> None:
    question = next(q for q in read_questions(made.path) if q.required_numbers)
    decide(tmp_path, question, "edit", required_numbers="987만원")
    with pytest.raises(InvalidInputError, match="'987만원' is not in reference_answer"):
        freeze_questions(made.path, tmp_path / "f.jsonl", reviews=tmp_path)


def test_a_frozen_set_is_never_overwritten_and_changes_are_noticed(made: MadeSet, tmp_path: Path) -> None:
    out = tmp_path / "f.jsonl"
    first = freeze_questions(made.path, out)
    assert freeze_questions(made.path, out) == first
    question = read_questions(made.path)[0]
    decide(tmp_path / "reviews", question, "reject", "doubtful")
    with pytest.raises(InvalidInputError, match="exists already with other questions"):
        freeze_questions(made.path, out, reviews=tmp_path / "reviews")
    out.write_text("\n".join(out.read_text(encoding="utf-8").splitlines()[1:]), encoding="utf-8")
    with pytest.raises(InvalidInputError, match="was changed after it was frozen"):
        read_questions(out)


def test_decisions_in_a_csv_file_reach_the_frozen_set(
    made: MadeSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, reviews = tmp_path / "review.csv", str(tmp_path / "reviews")
    review = ["questions", "review", "--questions", str(made.path), "--reviews", reviews]
    assert main([*review, "--export", str(table)]) == 0
    with table.open(encoding="utf-8-sig", newline="") as f:
        rows = list(csv.DictReader(f))
    in_set = {q.question for q in read_questions(made.path)}
    for row in rows:
        row["action"] = "approve" if row["question"] in in_set else ""
    with table.open("w", encoding="utf-8-sig", newline="") as f:
        writer = csv.DictWriter(f, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    assert main([*review, "--import", str(table), "--reviewer", "kim"]) == 0
    out = tmp_path / "f.jsonl"
    freeze = ["questions", "freeze", "--questions", str(made.path), "--out", str(out), "--reviews", reviews]
    assert main([*freeze, "--require-review", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["approved"] == made.artifact.questions
