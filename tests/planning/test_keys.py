from __future__ import annotations

import json
from pathlib import Path

import pytest

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import ApiKey
from insurance_rag.planning import load_keys

SECRET = "AIzaSyPLANTED-key-0123456789"


def test_keys_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([{"id": "a", "key": SECRET, "project": "p", "rpm": 10}, {"id": "b", "key": "other"}]))
    first, second = load_keys(path)
    assert (first.pool, first.rpm, second.pool) == ("p", 10, "b")
    assert SECRET not in repr(first) + str(first) + first.model_dump_json()


def test_keys_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEYS", " one, two ,")
    assert [(k.id, k.key.get_secret_value()) for k in load_keys()] == [("gemini_k1", "one"), ("gemini_k2", "two")]


def test_no_keys_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEYS", raising=False)
    with pytest.raises(InvalidInputError, match=r"GEMINI_API_KEYS: no API keys; give --keys keys\.json"):
        load_keys()


@pytest.mark.parametrize("teacher", ["local", "openai"])
def test_an_own_teacher_needs_no_key(teacher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEYS", raising=False)
    assert [k.id for k in load_keys(teacher=teacher)] == [teacher]


def test_every_problem_is_listed_and_no_key_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    entries = [
        {"id": "a", "key": SECRET},
        {"id": "a", "key": SECRET},
        {"id": "b b", "key": SECRET + "2"},
        {"id": "c", "key": ""},
        {"id": "d", "key": "한글 열쇠"},
        {"id": "e", "kee": SECRET},
        {"id": "f", "key": "f", "project": "p", "rpm": 10},
        {"id": "g", "key": "g", "project": "p", "rpm": 20},
        "h",
    ]
    path.write_text(json.dumps(entries))
    with pytest.raises(InvalidInputError) as e:
        load_keys(path)
    text = str(e.value)
    expected = ("'a' is used twice", "same key as a", "key 3: id", "key 4 (c)", "key 5: key", "key 6: kee", "key 9")
    for part in (*expected, "two values of rpm"):
        assert part in text
    assert SECRET not in text


def test_a_file_that_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"id": "a"}')
    with pytest.raises(InvalidInputError, match="is not a list"):
        load_keys(path)


def test_the_newline_of_a_secret_store_is_no_part_of_a_key() -> None:
    assert ApiKey.model_validate({"id": "a", "key": f"{SECRET}\n"}).key.get_secret_value() == SECRET
