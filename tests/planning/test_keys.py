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


def test_without_keys_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEYS", raising=False)
    with pytest.raises(InvalidInputError, match=r"GEMINI_API_KEYS: no API keys; give --keys .* or set GEMINI"):
        load_keys()


@pytest.mark.parametrize("teacher", ["local", "openai"])
def test_a_teacher_that_requires_no_key_gets_a_placeholder(teacher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEYS", raising=False)
    assert [k.id for k in load_keys(teacher=teacher)] == [teacher]


def test_keys_of_an_openai_compatible_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEYS", "one")
    assert [(k.id, k.key.get_secret_value()) for k in load_keys(teacher="openai")] == [("openai_k1", "one")]


def test_an_unknown_teacher_is_an_input_error() -> None:
    with pytest.raises(InvalidInputError, match=r"unknown teacher 'gemni'; did you mean 'gemini'\?"):
        load_keys(teacher="gemni")


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
    expected = ("key 2: duplicate id 'a'", "key 2 (a) is the same key as a", "key 3: id", "key 4 (c): the key is empty")
    for part in (*expected, "key 5: key", "key 6: kee", "key 9", "two values of rpm: 10 and 20"):
        assert part in text
    assert SECRET not in text


def test_a_file_that_is_not_a_list(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text('{"id": "a"}')
    with pytest.raises(InvalidInputError, match="not a list; give --keys"):
        load_keys(path)


def test_the_newline_of_a_secret_store_is_not_part_of_a_key() -> None:
    assert ApiKey.model_validate({"id": "a", "key": f"{SECRET}\n"}).key.get_secret_value() == SECRET
