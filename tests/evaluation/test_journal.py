"""The journal of generated answers: kills, damaged bytes, characters that are not valid text."""

from __future__ import annotations

from pathlib import Path

import pytest

from insurance_rag.evaluation.journal import EvaluationJournal
from insurance_rag.evaluation.requests import GeneratedAnswer

ANSWERS = {f"key{i}": GeneratedAnswer(f"{i}번 답입니다.", i, i / 10) for i in range(5)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "answers.journal.jsonl"
    with EvaluationJournal(path) as journal:
        for key, answer in ANSWERS.items():
            journal.add(key, answer)
    return path


def read(path: Path) -> dict[str, GeneratedAnswer]:
    with EvaluationJournal(path) as journal:
        return dict(journal.answers)


def test_answers_are_read_back(path: Path) -> None:
    assert read(path) == ANSWERS


def test_any_flipped_bit_costs_at_most_its_own_answer(path: Path) -> None:
    content = path.read_bytes()
    third_line = content.index(b'{"key": "key2"')
    for position in range(third_line, content.index(b"\n", third_line)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        readable = read(path)
        assert {key: readable.get(key) for key in ("key0", "key1", "key3", "key4")} == {
            key: answer for key, answer in ANSWERS.items() if key != "key2"
        }
        assert readable.get("key2") in (None, ANSWERS["key2"])


def test_a_torn_last_line_is_replaced(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])
    with EvaluationJournal(path) as journal:
        assert list(journal.answers) == ["key0", "key1", "key2", "key3"]
        journal.add("key4", ANSWERS["key4"])
    assert read(path) == ANSWERS


def test_a_lone_surrogate_can_be_stored(path: Path) -> None:
    with EvaluationJournal(path) as journal:
        journal.add("odd", GeneratedAnswer("답\ud800", 1, 0.0))
    assert read(path)["odd"].text == "답?"
