"""The tiny base model that full pipelines train and evaluate."""

from __future__ import annotations

from pathlib import Path

_SETTINGS = {"vocab_size": 600, "context": 512, "steps": 8, "tokens_per_step": 512}


def tiny_base_model(folder: Path) -> Path:
    """Return the folder of a base model that was trained for a few steps. It is made once and then reused."""
    from demo.config import PretrainConfig
    from demo.pretrain import pretrain_base_model
    from insurance_rag.chunks import read_chunks

    if not (folder / "config.json").exists():
        pretrain_base_model(read_chunks("sample")[:40], folder, PretrainConfig.model_validate(_SETTINGS))
    return folder
