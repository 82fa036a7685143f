"""Chunks, rows and part files that the validation and dataset tests share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from insurance_rag.config import DatasetConfig, ValidationConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.files import read_jsonl
from insurance_rag.core.records import Chunk, ChunkMetadata, FormattedRow, RejectedRow, ValidationReport

CHUNK_TEXT = """제7조(암 진단비의 지급사유)
① 회사는 피보험자가 암보장개시일 이후에 암으로 진단확정된 때에는 암 진단비로 3,000만원을 지급합니다.
② 계약일부터 1년 이내에 진단확정된 때에는 제1항 금액의 50%를 지급합니다.
③ 암보장개시일은 계약일부터 90일이 지난 날의 다음 날로 합니다."""
SETTINGS = ValidationConfig(retriever_check=False)
"""The defaults without the retriever, whose analyser takes seconds to load."""

GeneratedRow = dict[str, Any]
"""A row of a part file. Tests also write rows of wrong types, so the values can be anything."""


def chunk(
    chunk_id: str,
    text: str = CHUNK_TEXT,
    source: str = "a.pdf",
    product: str = "한빛 든든 암보험",
    company: str = "한빛생명",
) -> Chunk:
    metadata = ChunkMetadata(
        source=source, company=company, breadcrumbs=f"{product} > 보통약관 > 제7조", token_count=0, policy_type="암보험"
    )
    return Chunk(chunk_id=chunk_id, text=text, metadata=metadata)


def row(n: int = 0, **changed: object) -> GeneratedRow:
    """Return a row about CHUNK_TEXT that passes every rule; each `n` gives another question."""
    good = {
        "chunk_id": "c1",
        "type": "fact",
        "instruction": f"한빛 든든 암보험의 암 진단비는 얼마인가요? 문의 번호는 {_word(n)}입니다.",
        "input": CHUNK_TEXT,
        "output": f"제7조에 따르면 암 진단비로 3,000만원을 지급합니다. 문의하신 {_word(n)} 건도 같습니다.",
        "evidence": "암 진단비로 3,000만원을 지급합니다.",
        "answerable": True,
        "meta": {"model": "teacher"},
    }
    return good | changed


def _word(n: int) -> str:
    """Return an invented word without digits that differs for each n."""
    return "".join(chr(0xAC00 + (n * 7919 + k * 104729) % 11000) for k in range(8))


def write_part(path: Path, rows: Sequence[object]) -> Path:
    """Write a part file as generation does: a JSON array with one row per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n", encoding="utf-8")
    return path


def read_rows(path: Path) -> list[FormattedRow]:
    rows: list[FormattedRow] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def read_report(out: Path) -> ValidationReport:
    return DatasetFolder(out).read_report()


def read_rejects(out: Path) -> list[RejectedRow]:
    rows: list[RejectedRow] = read_jsonl(DatasetFolder(out).rejects)
    return rows


def reasons(out: Path) -> list[str]:
    return [reject["reason"] for reject in read_rejects(out)]


def reject_numbers(out: Path) -> Mapping[object, str]:
    """Return the reason of every rejected row by the number `n` in its `meta`."""
    return {reject["meta"]["n"]: reject["reason"] for reject in read_rejects(out)}


def with_dataset(**settings: Any) -> ValidationConfig:
    """Return SETTINGS with these dataset settings."""
    return SETTINGS.model_copy(update={"dataset": DatasetConfig(**settings)})
