"""A share of the training rows comes from a general dataset. A file that cannot help is rejected before training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.training.conftest import manifest_of, quick

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.training import train_adapter
from insurance_rag.training.encoding import IGNORE_INDEX, EncodedRow, EncodedRows
from insurance_rag.training.preflight import PreparedTraining, prepare_training

KOREAN = [
    {"prompt": "수도는 어디인가요?\n", "completion": "서울입니다."},
    {
        "messages": [
            {"role": "system", "content": "짧게 답하십시오."},
            {"role": "user", "content": "물은 몇 도에서 끓습니까?"},
            {"role": "assistant", "content": "백 도입니다."},
        ]
    },
    {"text": "봄이 오면 산과 들에 꽃이 핀다. " * 60},
    {"prompt": "가장 긴 강은?", "completion": "낙동강입니다."},
]


def write(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def prepare(dataset: Path, base_model: Path, out: Path, file: Path, **settings: object) -> PreparedTraining:
    recipe = quick(replay={"file": str(file), "share": settings.pop("share", 0.2)}, **settings)
    return prepare_training(recipe, dataset, str(base_model), out)


def added_rows(training: PreparedTraining) -> list[EncodedRow]:
    """Return the rows after the 16 rows of the dataset."""
    assert isinstance(training.rows, EncodedRows)
    return training.rows.rows[16:]


def test_replay_rows_are_the_share_of_the_recipe(dataset: Path, base_model: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "general.jsonl", KOREAN)
    training = prepare(dataset, base_model, tmp_path / "out", file)
    assert (len(training.rows.rows), training.replay and training.replay.rows) == (20, 4)
    texts = {training.tokenizer.decode(row["input_ids"], skip_special_tokens=True): row for row in added_rows(training)}
    question = next(row for text, row in texts.items() if text.startswith("수도는 어디인가요?"))
    learned = [token for token in question["labels"] if token != IGNORE_INDEX]
    assert training.tokenizer.decode(learned, skip_special_tokens=True) == "서울입니다."
    assert any(text.startswith("짧게 답하십시오.\n\n물은 몇 도에서 끓습니까?\n\n백 도") for text in texts)
    text_row = next(row for text, row in texts.items() if text.startswith("봄이 오면"))
    assert len(text_row["input_ids"]) == 512 and text_row["labels"][-1] == text_row["input_ids"][-1]


def test_the_seed_and_the_content_of_the_file_decide(
    dataset: Path, base_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"prompt": f"{i}번째 질문은?", "completion": "답입니다."} for i in range(40)]
    first, moved = write(tmp_path / "a.jsonl", rows), write(tmp_path / "b.jsonl", rows)
    changed = write(tmp_path / "c.jsonl", [*rows, rows[0]])

    def prepared(file: Path, **settings: object) -> PreparedTraining:
        return prepare(dataset, base_model, tmp_path / "out", file, **settings)

    training = prepared(first)
    assert prepared(moved).rows == training.rows and prepared(moved).fingerprint == training.fingerprint
    assert prepared(first, seed=7).rows != training.rows
    assert prepared(changed).fingerprint != training.fingerprint != prepared(first, share=0.3).fingerprint
    assert prepared(changed).recipe_fingerprint != training.recipe_fingerprint
    assert "each once" not in caplog.text
    assert len(prepared(first, share=0.9).rows.rows) == 16 + 40
    assert "has 40 rows that can be used, but replay.share=0.9 needs 144" in caplog.text


def test_training_records_the_replay_rows(dataset: Path, base_model: Path, tmp_path: Path) -> None:
    file, out = write(tmp_path / "general.jsonl", KOREAN), tmp_path / "out"
    train_adapter(quick(replay={"file": str(file), "share": 0.2}, max_steps=2), dataset, str(base_model), out)
    manifest = manifest_of(out)
    assert manifest.dataset.rows == 16
    assert manifest.replay is not None and (manifest.replay.uri, manifest.replay.rows) == (str(file), 4)
    assert "| rows of a general dataset | 4 |" in (out / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "general.jsonl: cannot be read"),
        ("", "general.jsonl: holds no rows; give a general dataset"),
        ('{"prompt": "a"}', "row 1 has neither a prompt with a completion"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "row 1 has neither a prompt with a completion"),
        (
            '{"prompt": "What is the capital?", "completion": "The capital is Seoul."}',
            "general.jsonl: 0 % of the letters in its answers are Korean, but 9",
        ),
    ],
)
def test_a_bad_file_is_listed_with_the_other_problems(
    content: str | None, message: str, dataset: Path, base_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "general.jsonl"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInputError) as error:
        prepare(dataset, base_model, tmp_path / "out", file, report_to=["mlflow"])
    assert message in str(error.value) and "pip install mlflow" in str(error.value)


def test_share_and_objective_are_checked_with_the_recipe() -> None:
    for share in (0, 1, -0.1):
        with pytest.raises(InvalidInputError, match="share: Input should be"):
            quick(replay={"file": "a.jsonl", "share": share})
    with pytest.raises(InvalidInputError, match="objective=dpo learns from pairs"):
        quick(replay={"file": "a.jsonl"}, objective="dpo", padding_free=False)


def test_chat_models_get_conversations_and_plain_texts(dataset: Path, base_model: Path, tmp_path: Path) -> None:
    base, rows = tmp_path / "base", tmp_path / "train_dataset_chat.json"
    shutil.copytree(base_model, base)
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    messages = [("system", "지침"), ("user", "질문"), ("assistant", "답입니다.")]
    row = {"messages": [{"role": role, "content": content} for role, content in messages]}
    rows.write_text(json.dumps([row] * 16, ensure_ascii=False), encoding="utf-8")
    file = write(tmp_path / "general.jsonl", KOREAN)
    training = prepare(rows, base, tmp_path / "out", file, prompt_format="chat")
    texts = [training.tokenizer.decode(row["input_ids"]) for row in added_rows(training)]
    assert any("<user>수도는 어디인가요?" in text and "<assistant>서울입니다." in text for text in texts)
    assert any("봄이 오면" in text and "<assistant>" not in text for text in texts)
