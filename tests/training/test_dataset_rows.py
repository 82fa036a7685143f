"""Reading of training rows and held-out rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.training.dataset_rows import heldout_file, read_rows, training_file


def test_prompt_format_names_the_file(dataset: Path) -> None:
    assert training_file(dataset, "plain").name == "train_dataset.json"
    assert training_file(dataset, "rag").name == "train_dataset_rag.json"
    assert training_file(dataset, "merged").name == "train_dataset_final_v2.json"
    assert training_file(dataset / "mine.json", "plain") == dataset / "mine.json"
    assert heldout_file(dataset / "train_dataset.json", "rag") == dataset / "heldout.json"
    assert heldout_file(dataset, "plain") == dataset / "heldout.json"
    assert heldout_file(dataset.parent, "rag") is None


def test_invalid_rows_are_listed_together(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"prompt": "a", "completion": "b"}, {"prompt": "a"}, 7]))
    with pytest.raises(InvalidInputError) as error:
        read_rows(path)
    assert "row 2 has no completion" in str(error.value) and "row 3 has no prompt and no completion" in str(error.value)
    path.write_text("[]")
    with pytest.raises(InvalidInputError, match="holds no rows"):
        read_rows(path)
    lines = tmp_path / "rows.jsonl"
    lines.write_text('{"prompt": "a", "completion": "b"}\n')
    assert len(read_rows(lines)) == 1


def test_equal_problems_are_grouped(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"prompt": "a", "completion": "b"}] + [{"prompt": "a"}] * 900))
    with pytest.raises(InvalidInputError, match="900 rows have no completion, the first is row 2; make the file"):
        read_rows(path)
    path.write_text(json.dumps([{"prompt": "a", "completion": "b", "evidence": 3}]))
    with pytest.raises(InvalidInputError, match="row 1 has an invalid evidence"):
        read_rows(path)


def test_rows_with_only_text_are_split(tmp_path: Path) -> None:
    rows = [{"text": "### 지시\n묻기\n### 입력\n조항\n### 출력\n답입니다.<|end_of_text|>"}]
    (tmp_path / "train_dataset.json").write_text(json.dumps(rows))
    [row] = read_rows(tmp_path / "train_dataset.json")
    assert row.prompt.endswith("조항\n### 출력\n") and row.completion == "답입니다.<|end_of_text|>"


def test_a_verifier_is_never_measured_on_rows_of_another_format(dataset: Path, tmp_path: Path) -> None:
    assert heldout_file(dataset, "verify") == dataset / "heldout_verifier.json"
    (tmp_path / "heldout.json").write_text("[]")
    assert heldout_file(tmp_path, "verify") is None and heldout_file(tmp_path, "plain") is not None
