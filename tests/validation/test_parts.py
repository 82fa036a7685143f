"""Part files of any layout and quality: every row gets a reason, and unusable files are named."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from tests.validation.helpers import (
    CHUNK_TEXT,
    SETTINGS,
    chunk,
    read_rejects,
    read_report,
    read_rows,
    reasons,
    row,
    write_part,
)

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.validation.validate import validate_parts

BAD_ROWS: list[tuple[object, str]] = [
    (["a", "list"], "is a list"),
    ("text", "is text"),
    (7, "is a number"),
    (None, "is null"),
    (row(output=3000), "output is a number"),
    (row(chunk_id=7), "chunk_id is a number"),
    (row(answerable="yes"), "answerable is text"),
    (row(output="가" * 1_000_000), "1,000,000 characters"),
    (row(output="보험금\ud800을 지급합니다."), "lone surrogate"),
    (row(meta={"note": "\udfff"}), "not valid Unicode"),
]


@pytest.mark.parametrize("rules", [SETTINGS.rules, ("too_short",)])
def test_rows_of_any_shape_get_a_reason(tmp_path: Path, rules: tuple[str, ...]) -> None:
    """Without a rule for unreadable rows `malformed` is added, because no other rule can judge them."""
    rows = [bad for bad, _ in BAD_ROWS] + [row(1)]
    path = tmp_path / "dataset_part_1.json"
    path.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    config = SETTINGS.model_copy(update={"rules": rules})
    result = validate_parts([path], [chunk("c1")], tmp_path / "out", config)
    assert (result.rows, result.kept) == (len(rows), 1)
    rejects = read_rejects(tmp_path / "out")
    assert {r["reason"] for r in rejects} == {"malformed"}
    for _, problem in BAD_ROWS:
        assert any(problem in r["span"] for r in rejects), problem


def test_control_characters_and_decomposed_hangul_are_cleaned_and_counted(tmp_path: Path) -> None:
    nfd = unicodedata.normalize("NFD", row(1)["output"])
    part = write_part(tmp_path / "p.json", [row(1, output=nfd), row(2, output=row(2)["output"] + "\x00\u200b")])
    validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS)
    kept = {r["output"] for r in read_rows(tmp_path / "out/train_dataset_final_v2.json")}
    assert kept == {row(1)["output"], row(2)["output"]}
    assert read_report(tmp_path / "out").cleaned == {"output": 2}


def test_a_torn_line_of_a_jsonl_part_is_a_reason_not_a_crash(tmp_path: Path) -> None:
    part = tmp_path / "part.jsonl"
    part.write_text(json.dumps(row(1)) + "\n" + json.dumps(row(2))[:50] + "\n")
    result = validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS)
    assert (result.rows, result.kept, reasons(tmp_path / "out")) == (2, 1, ["malformed"])


def test_indented_parts_are_read(tmp_path: Path) -> None:
    part = tmp_path / "part.json"
    part.write_text(json.dumps([row(1), row(2)], indent=2, ensure_ascii=False), encoding="utf-8")
    assert validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS).kept == 2


def test_parts_of_one_name_get_different_labels_and_rejects_keep_their_chunk(tmp_path: Path) -> None:
    parts = [write_part(tmp_path / f"{n}/dataset_part_1.json", [row(1)]) for n in range(2)]
    validate_parts(parts, [chunk("c1")], tmp_path / "out", SETTINGS)
    assert [shard.rows for shard in read_report(tmp_path / "out").by_shard.values()] == [1, 1]
    (reject,) = read_rejects(tmp_path / "out")
    assert (reject["reason"], reject["input"], reject["repairable"]) == ("duplicate", CHUNK_TEXT, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[\n{"a": 1},\n{"b"', "ends before the closing"),
        ('{"a": 1}', "contains an object"),
        ("[1, 2", "invalid JSON"),
        ("[]", "contains no rows"),
    ],
)
def test_unusable_parts_are_named_and_an_earlier_dataset_stays(tmp_path: Path, content: str, message: str) -> None:
    part = tmp_path / "dataset_part_1.json"
    write_part(part, [row(1)])
    validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS)
    before = (tmp_path / "out/train_dataset.json").read_bytes()
    part.write_text(content)
    with pytest.raises(InvalidInputError, match=message) as e:
        validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS)
    assert "dataset_part_1.json" in str(e.value)
    assert (tmp_path / "out/train_dataset.json").read_bytes() == before


def test_a_missing_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no part file"):
        validate_parts([tmp_path / "nowhere"], None, tmp_path / "out")


@pytest.mark.parametrize(
    "text", [CHUNK_TEXT.replace("암 진단비", "암 진\u00ad단비"), unicodedata.normalize("NFD", CHUNK_TEXT)]
)
def test_a_chunk_that_needs_cleaning_loses_no_rows(tmp_path: Path, text: str) -> None:
    part = write_part(tmp_path / "dataset_part_1.json", [row(input=text)])
    assert validate_parts([part], [chunk("c1", text)], tmp_path / "out", SETTINGS).kept == 1


def test_an_array_may_end_on_the_line_of_its_last_row(tmp_path: Path) -> None:
    part = tmp_path / "dataset_part_1.json"
    part.write_text("[\n" + ",\n".join(json.dumps(row(n)) for n in range(3)) + "]", encoding="utf-8")
    assert validate_parts([part], None, tmp_path / "out", SETTINGS).rows == 3
    assert reasons(tmp_path / "out") == []


def test_a_row_that_is_nested_too_deeply_is_a_reason(tmp_path: Path) -> None:
    part = tmp_path / "dataset_part_1.json"
    deep = json.dumps(row(1))[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"
    part.write_text("[\n" + json.dumps(row(0)) + ",\n" + deep + "\n]\n", encoding="utf-8")
    assert validate_parts([part], None, tmp_path / "out", SETTINGS).rows == 2
    assert reasons(tmp_path / "out") == ["malformed"]
