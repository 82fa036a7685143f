"""One small base model and one dataset for all training tests; no test trains for more than a few seconds."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file
from tests.fakes.chat_base import make_chat_base

from demo.config import PretrainConfig
from insurance_rag.chunks import read_chunks
from insurance_rag.config import TrainingConfig
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.prompt_templates import (
    RAG,
    SUPPORTED,
    UNSUPPORTED,
    VERIFY,
    chat_messages,
    merged_prompt,
    plain_prompt,
    question_with_answer,
    rag_prompt,
)
from insurance_rag.core.records import REFUSAL, Chunk, TrainingManifest
from insurance_rag.training import load_recipe, train_adapter

if TYPE_CHECKING:
    from transformers import PretrainedConfig

#: Settings over the smoke recipe that make a training take about two seconds.
QUICK = {
    "max_steps": 4,
    "batch_size": 4,
    "per_device_train_batch_size": 2,
    "eval_steps": 2,
    "eval_rows": 4,
    "save_steps": 2,
    "logging_steps": 1,
    "max_length": 512,
}

Fields = Mapping[str, str]
"""Question, chunk and answer of a row."""


@pytest.fixture(scope="session")
def chunks() -> list[Chunk]:
    return read_chunks("sample")[:40]


@pytest.fixture(scope="session")
def base_model(chunks: list[Chunk], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a base model that was trained for a few steps: its weights are real, its Korean is not."""
    from demo.pretrain import pretrain_base_model

    out = tmp_path_factory.mktemp("base")
    config = PretrainConfig(vocab_size=600, context=512, steps=8, tokens_per_step=512)
    pretrain_base_model(chunks, out, config)
    gc.freeze()  # each training ends with a full collection, which need not visit the imported libraries
    return out


@pytest.fixture(scope="session")
def chat_base_model(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the base model with a chat template."""
    return make_chat_base(base_model, tmp_path_factory.mktemp("chat_base"))


@pytest.fixture(scope="session")
def dataset(chunks: list[Chunk], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset folder with five formats and preference pairs, as the validation stage writes it.

    The chunks are cut, so that a row has about a hundred tokens less and a step takes half the time.
    """
    out = tmp_path_factory.mktemp("dataset")
    short = [chunk for chunk in chunks if len(chunk.text) < 260][:16]
    fields = [
        {
            "chunk_id": chunk.chunk_id,
            "instruction": "이 조항은 무엇을 정합니까?",
            "input": chunk.text[: 60 + 5 * i],
            "output": f"제{i + 1}조에 따르면 {chunk.text[:20]}입니다." if i % 4 else REFUSAL + ".",
        }
        for i, chunk in enumerate(short)
    ]

    def plain(row: Fields) -> tuple[str, str]:
        return plain_prompt(row["instruction"], row["input"]), row["output"]

    def rag(row: Fields) -> tuple[str, str]:
        return rag_prompt(row["instruction"], row["input"]), row["output"] + RAG.end_of_text

    def merged(row: Fields) -> tuple[str, str]:
        return merged_prompt(row["instruction"], row["input"]), row["output"]

    def verify(row: Fields) -> tuple[str, str]:
        question = question_with_answer(row["instruction"], row["output"])
        return VERIFY.prompt(question, row["input"]), SUPPORTED if len(row["input"]) % 2 else UNSUPPORTED

    write_rows(out / "train_dataset.json", fields, plain)
    write_rows(out / "train_dataset_rag.json", fields, rag)
    write_rows(out / "heldout.json", fields[:6], rag)
    write_rows(out / "train_dataset_final_v2.json", fields, merged)
    write_rows(out / "train_dataset_verifier.json", fields, verify)
    write_rows(out / "heldout_verifier.json", fields[:6], verify)
    write_chat_rows(out / "train_dataset_chat.json", fields)
    write_chat_rows(out / "heldout_chat.json", fields[:6])
    pairs = [
        {
            **{key: row[key] for key in ("chunk_id", "input")},
            "prompt": rag_prompt(row["instruction"], row["input"]),
            "chosen": row["output"] + RAG.end_of_text,
            "rejected": f"{row['input'][-30:]}{i}원" + RAG.end_of_text,
            "kind": "number",
        }
        for i, row in enumerate(fields)
    ]
    (out / "train_dataset_preference.json").write_text(json.dumps(pairs, ensure_ascii=False), encoding="utf-8")
    (out / "heldout_preference.json").write_text(json.dumps(pairs[:6], ensure_ascii=False), encoding="utf-8")
    return out


def write_rows(path: Path, rows: Sequence[Fields], prompt_and_completion: Callable[[Fields], tuple[str, str]]) -> None:
    formatted = []
    for row in rows:
        prompt, completion = prompt_and_completion(row)
        formatted.append({**row, "prompt": prompt, "completion": completion, "text": prompt + completion})
    path.write_text(json.dumps(formatted, ensure_ascii=False), encoding="utf-8")


def write_chat_rows(path: Path, rows: Sequence[Fields]) -> None:
    formatted = []
    for row in rows:
        answer = {"role": "assistant", "content": row["output"]}
        messages = [*chat_messages(row["instruction"], row["input"]), answer]
        formatted.append({"chunk_id": row["chunk_id"], "messages": messages, "context": row["input"]})
    path.write_text(json.dumps(formatted, ensure_ascii=False), encoding="utf-8")


def quick(**settings: object) -> TrainingConfig:
    """Return the smoke recipe with QUICK and other settings."""
    return load_recipe("smoke", {**QUICK, **settings})


def weights(adapter: Path) -> dict[str, torch.Tensor]:
    return load_file(AdapterFolder(adapter).weights)


def largest_difference(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> float:
    return max(float((a[name].float() - b[name].float()).abs().max()) for name in a)


def manifest_of(adapter: Path) -> TrainingManifest:
    manifest = AdapterFolder(adapter).read_manifest()
    assert manifest is not None
    return manifest


def losses_of(adapter: Path) -> list[float]:
    """Return the logged training losses, one per step."""
    return [row.loss for row in AdapterFolder(adapter).read_loss_history() if row.loss is not None]


def model_config(base_model: Path) -> PretrainedConfig:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(base_model)


@pytest.fixture(scope="session")
def straight(base_model: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the adapter of an uninterrupted run, with dropout, so that resuming must restore the random state."""
    out = tmp_path_factory.mktemp("adapters") / "straight"
    train_adapter(quick(lora={"dropout": 0.1}), dataset, str(base_model), out)
    return out
