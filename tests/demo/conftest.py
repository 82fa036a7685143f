"""A tiny base model with minimal settings, trained once for all tests of the demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.config import PretrainConfig
from demo.pretrain import PretrainedModel, pretrain_base_model
from insurance_rag.chunks import read_chunks
from insurance_rag.core.records import Chunk

TINY = PretrainConfig(vocab_size=600, context=512, steps=8, tokens_per_step=512)


@pytest.fixture(scope="session")
def chunks() -> list[Chunk]:
    return read_chunks("sample")[:40]


@pytest.fixture(scope="session")
def pretrained(chunks: list[Chunk], tmp_path_factory: pytest.TempPathFactory) -> PretrainedModel:
    return pretrain_base_model(chunks, tmp_path_factory.mktemp("base"), TINY)


@pytest.fixture(scope="session")
def base_model(pretrained: PretrainedModel) -> Path:
    return Path(pretrained.uri)
