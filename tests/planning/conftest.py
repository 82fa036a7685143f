from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from insurance_rag.core.records import ApiKey, Chunk
from insurance_rag.core.run_folder import RunFolder


class MakeChunks(Protocol):
    def __call__(self, n: int, product: str = ...) -> list[Chunk]: ...


class MakeKeys(Protocol):
    def __call__(self, n: int, **facts: object) -> list[ApiKey]: ...


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def make_chunks() -> MakeChunks:
    def make(n: int, product: str = "한빛 암보험") -> list[Chunk]:
        where = {"source": "s.pdf", "company": "한빛생명", "breadcrumbs": f"{product} > 제1관", "policy_type": "암보험"}
        text = "제{i}조(보험금)\n회사는 입원한 때에는 {i}만원을 지급합니다."
        return [
            Chunk.model_validate(
                {
                    "chunk_id": f"c{i:05}",
                    "text": text.format(i=i),
                    "metadata": {**where, "token_count": 30},
                }
            )
            for i in range(1, n + 1)
        ]

    return make


@pytest.fixture
def make_keys() -> MakeKeys:
    def make(n: int, **facts: object) -> list[ApiKey]:
        return [ApiKey.model_validate({"id": f"k{i}", "key": f"secret-{i}", **facts}) for i in range(1, n + 1)]

    return make
