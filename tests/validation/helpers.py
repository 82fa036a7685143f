"""Clauses, rows and part files the validation tests share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insurance_rag.config import DatasetConfig, ValidationConfig
from insurance_rag.core.records import Chunk, ChunkMetadata

CLAUSE = """제7조(암 진단비의 지급사유)
① 회사는 피보험자가 암보장개시일 이후에 암으로 진단확정된 때에는 암 진단비로 3,000만원을 지급합니다.
② 계약일부터 1년 이내에 진단확정된 때에는 제1항 금액의 50%를 지급합니다.
③ 암보장개시일은 계약일부터 90일이 지난 날의 다음 날로 합니다."""
SETTINGS = ValidationConfig(retriever_check=False)
"""Without the retriever, whose analyser takes seconds to load."""


def chunk(
    chunk_id: str,
    text: str = CLAUSE,
    source: str = "a.pdf",
    product: str = "한빛 든든 암보험",
    company: str = "한빛생명",
) -> Chunk:
    metadata = ChunkMetadata(
        source=source, company=company, breadcrumbs=f"{product} > 보통약관 > 제7조", token_count=0, policy_type="암보험"
    )
    return Chunk(chunk_id=chunk_id, text=text, metadata=metadata)


def row(n: int = 0, **changed: Any) -> dict[str, Any]:
    """A good row over CLAUSE; `n` makes its question another one."""
    good = {
        "chunk_id": "c1",
        "type": "fact",
        "instruction": f"한빛 든든 암보험의 암 진단비는 얼마인가요? 문의 번호는 {_word(n)}입니다.",
        "input": CLAUSE,
        "output": f"제7조에 따르면 암 진단비로 3,000만원을 지급합니다. 문의하신 {_word(n)} 건도 같습니다.",
        "evidence": "암 진단비로 3,000만원을 지급합니다.",
        "answerable": True,
        "meta": {"model": "teacher"},
    }
    return good | changed


def _word(n: int) -> str:
    """A made-up word with no number in it, unlike that of any other n."""
    return "".join(chr(0xAC00 + (n * 7919 + k * 104729) % 11000) for k in range(8))


def write_part(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n", encoding="utf-8")
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def reasons(out: Path) -> list[str]:
    return [json.loads(line)["reason"] for line in (out / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]


def with_dataset(**settings: Any) -> ValidationConfig:
    return SETTINGS.model_copy(update={"dataset": DatasetConfig(**settings)})
