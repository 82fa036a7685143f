"""Rows as token ids: what is learned, what is cut, what is left out."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import QUICK

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import RAG, rag_prompt
from insurance_rag.training import load_recipe
from insurance_rag.training.data import IGNORED, as_version, dataset_file, encode_rows, heldout_file, read_rows
from insurance_rag.training.model import load_tokenizer
from insurance_rag.training.preflight import prepare

SHORT = {**QUICK, "max_length": 512}
ANSWER = "제3조에 따르면 90일입니다."


@pytest.fixture(scope="module")
def tokenizer(base_model: Path) -> Any:
    return load_tokenizer(str(base_model))


def row(clause: str = "제3조(기간)\n기간은 90일입니다.", answer: str = ANSWER, **more: Any) -> dict[str, Any]:
    return {"prompt": rag_prompt("며칠인가요?", clause), "completion": answer, "input": clause, **more}


def test_the_loss_is_on_the_answer_and_its_end_alone(tokenizer: Any) -> None:
    config = load_recipe("smoke")
    for answer in (ANSWER, ANSWER + RAG.end_of_text, ANSWER + tokenizer.eos_token):
        (encoded,) = encode_rows([row(answer=answer)], tokenizer, config).encoded
        learned = [label for label in encoded["labels"] if label != IGNORED]
        assert tokenizer.decode(learned) == ANSWER + tokenizer.eos_token
        assert learned.count(tokenizer.eos_token_id) == 1  # stands once, and is learned
        assert encoded["labels"][-len(learned) :] == learned == encoded["input_ids"][-len(learned) :]
    assert encoded["input_ids"][: -len(learned)] == tokenizer(row()["prompt"])["input_ids"]  # as generation will see it


def test_v1_is_not_taught_to_stop_and_the_source_learns_the_prompt_too(tokenizer: Any) -> None:
    (v1,) = encode_rows([row()], tokenizer, load_recipe("v1", {"profile": "smoke"})).encoded
    assert tokenizer.eos_token_id not in v1["input_ids"]
    (source,) = encode_rows([row()], tokenizer, load_recipe("v2", {"profile": "source"})).encoded
    assert source["labels"] == source["input_ids"]


def test_no_answer_is_ever_cut(tokenizer: Any) -> None:
    """TRL's own limit keeps the start of a row: a long clause would cost the answer its end, or all of it."""
    first = "제3조(기간)\n기간은 90일입니다."
    clause = first + " 이 문장은 길이를 채우기 위한 것이며 답과는 관계가 없습니다." * 40
    last = " 90일은 청구일부터 셉니다."
    wanted = [row(clause), row(clause, evidence="기간은 90일입니다."), row(clause + last, evidence=last.strip())]
    rows = encode_rows(wanted, tokenizer, load_recipe("smoke", {"max_length": 300}))
    assert (rows.context_cut, len(rows.left_out)) == (2, 1)  # the third rests on the clause's last sentence
    assert rows.left_out[0]["row"] == 3 and rows.left_out[0]["tokens"] > 300
    for encoded in rows.encoded:
        text = tokenizer.decode(encoded["input_ids"])
        assert len(encoded["input_ids"]) <= 300 and first in text
        assert text.endswith("### 출력\n" + ANSWER + tokenizer.eos_token) and "관계가 없습니다.\n\n질문:" in text
    assert max(rows.lengths) <= 300


def test_rows_that_cannot_be_shortened_are_left_out_whole(tokenizer: Any) -> None:
    long = row("한 문장뿐인 조항 " * 200)
    for config in (
        load_recipe("smoke", {"max_length": 200}),
        load_recipe("smoke", {"max_length": 200, "overlong": "skip"}),
    ):
        rows = encode_rows([long, {k: v for k, v in long.items() if k != "input"}], tokenizer, config)
        assert not rows.encoded and len(rows.left_out) == 2


def test_the_file_belongs_to_the_version(dataset: Path) -> None:
    assert dataset_file(dataset, "v1").name == "train_dataset.json"
    assert dataset_file(dataset, "v2").name == "train_dataset_rag.json"
    assert dataset_file(dataset, "v3").name == "train_dataset_final_v2.json"
    assert dataset_file(dataset / "mine.json", "v1") == dataset / "mine.json"
    assert heldout_file(dataset / "train_dataset.json") == dataset / "heldout.json"
    assert heldout_file(dataset.parent) is None


def test_heldout_rows_take_the_versions_format() -> None:
    fields = {"instruction": "질문?", "input": "조항", "output": "답입니다.", "prompt": "x", "completion": "y"}
    assert as_version(fields, "v2")["prompt"] == rag_prompt("질문?", "조항")
    assert as_version(fields, "v1")["prompt"].startswith("### 지시\n질문?\n### 입력")
    assert as_version(fields, "v3")["prompt"].startswith("### 지시\n질문?\n\n### 입력")
    assert as_version(fields, "v1")["completion"] == "답입니다."
    assert as_version({"prompt": "x", "completion": "y"}, "v1") == {"prompt": "x", "completion": "y"}


def test_bad_rows_are_listed_together(tmp_path: Path) -> None:
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


def test_the_published_files_with_text_alone_are_read(tmp_path: Path) -> None:
    rows = [{"text": "### 지시\n묻기\n### 입력\n조항\n### 출력\n답입니다.<|end_of_text|>"}]
    (tmp_path / "train_dataset.json").write_text(json.dumps(rows))
    [row] = read_rows(tmp_path / "train_dataset.json")
    assert row["prompt"].endswith("조항\n### 출력\n") and row["completion"] == "답입니다.<|end_of_text|>"


def test_without_held_out_rows_training_goes_on_and_early_stopping_is_refused(
    base_model: Path, dataset: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "dataset"
    shutil.copytree(dataset, alone)
    (alone / "heldout.json").write_text("[]")
    assert prepare(load_recipe("smoke", SHORT), alone, str(base_model), tmp_path / "out").heldout.encoded == []
    with pytest.raises(InvalidInputError, match="early_stopping needs held-out rows"):
        prepare(load_recipe("smoke", {**SHORT, "early_stopping": 2}), alone, str(base_model), tmp_path / "out")


def test_a_base_model_trained_anew_and_other_held_out_rows_are_another_training(
    base_model: Path, dataset: Path, tmp_path: Path
) -> None:
    base, data = tmp_path / "base", tmp_path / "data"
    shutil.copytree(base_model, base)
    shutil.copytree(dataset, data)
    recipe = load_recipe("smoke", SHORT)
    first = prepare(recipe, data, str(base), tmp_path / "out").fingerprint
    assert prepare(recipe, data, str(base), tmp_path / "out").fingerprint == first
    (data / "heldout.json").write_text("[]")
    second = prepare(recipe, data, str(base), tmp_path / "out").fingerprint
    os.utime(base / "model.safetensors")
    third = prepare(recipe, data, str(base), tmp_path / "out").fingerprint
    assert len({first, second, third}) == 3
