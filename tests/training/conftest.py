"""One small base model and dataset for all training tests; no test trains for more than a few seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from demo.config import PretrainConfig
from insurance_rag.chunks import read_chunks
from insurance_rag.core.prompt_templates import RAG, merged_prompt, plain_prompt, rag_prompt
from insurance_rag.core.records import REFUSAL, Chunk

#: Settings over the smoke recipe that make a training take about two seconds.
QUICK = {
    "max_steps": 4,
    "batch_size": 4,
    "micro_batch": 2,
    "eval_every": 2,
    "eval_rows": 4,
    "save_every": 2,
    "log_every": 1,
}


@pytest.fixture(scope="session")
def chunks() -> list[Chunk]:
    return read_chunks("sample")[:40]


@pytest.fixture(scope="session")
def base_model(chunks: list[Chunk], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pretrained for a handful of steps: its weights are real, its Korean is not."""
    from demo.pretrain import pretrain_base

    out = tmp_path_factory.mktemp("base")
    config = PretrainConfig(vocab_size=600, context=512, steps=8, tokens_per_step=512)
    pretrain_base(chunks, out, config)
    return out


@pytest.fixture(scope="session")
def dataset(chunks: list[Chunk], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder in the three formats, written as the validation stage writes it."""
    out = tmp_path_factory.mktemp("dataset")
    short = [chunk for chunk in chunks if len(chunk.text) < 260][:16]
    fields = [
        {
            "chunk_id": chunk.chunk_id,
            "instruction": "이 조항은 무엇을 정합니까?",
            "input": chunk.text,
            "output": f"제{i + 1}조에 따르면 {chunk.text[:20]}입니다." if i % 4 else REFUSAL + ".",
        }
        for i, chunk in enumerate(short)
    ]
    write(out / "train_dataset.json", fields, lambda r: (plain_prompt(r["instruction"], r["input"]), r["output"]))
    rag = lambda r: (rag_prompt(r["instruction"], r["input"]), r["output"] + RAG.end_of_text)  # noqa: E731
    write(out / "train_dataset_rag.json", fields, rag)
    write(out / "heldout.json", fields[:6], rag)
    merged = lambda r: (merged_prompt(r["instruction"], r["input"]), r["output"])  # noqa: E731
    write(out / "train_dataset_final_v2.json", fields, merged)
    return out


def write(path: Path, rows: list[dict[str, Any]], fmt: Any) -> None:
    full = [{**row, "prompt": fmt(row)[0], "completion": fmt(row)[1], "text": "".join(fmt(row))} for row in rows]
    path.write_text(json.dumps(full, ensure_ascii=False), encoding="utf-8")
