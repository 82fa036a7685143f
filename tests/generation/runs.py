"""Small runs against the real simulator, over real HTTP."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from insurance_rag.config import GenerationConfig
from insurance_rag.core.records import ApiKey, Chunk
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning import make_plan, write_plan

CRUMBS = "한빛 암보험 > 제1관"
META = {"source": "s", "company": "한빛생명", "breadcrumbs": CRUMBS, "token_count": 30, "policy_type": "암보험"}


def chunks(n: int, start: int = 1) -> list[Chunk]:
    return [
        Chunk.model_validate(
            {
                "chunk_id": f"c{i:05}",
                "text": f"제{i}조(입원보험금)\n① 회사는 입원하면 {i}만원을 지급합니다.\n② 청구는 {i}일 안에 합니다.",
                "metadata": META,
            }
        )
        for i in range(start, start + n)
    ]


def keys(n: int, **facts: Any) -> list[ApiKey]:
    return [ApiKey.model_validate({"id": f"k{i}", "key": f"secret-{i}", **facts}) for i in range(1, n + 1)]


def planned(
    folder: Path, sim: Any, n: int, with_keys: list[ApiKey], **settings: Any
) -> tuple[RunFolder, GenerationConfig]:
    """A run folder with a plan for `sim`."""
    run = RunFolder(folder)
    config = GenerationConfig.model_validate({"base_url": sim.url, "quota_window_s": sim.window_s, **settings})
    write_plan(make_plan(chunks(n), with_keys, config), run, chunks(n))
    return run, config


PART = re.compile(r"dataset_part_\d+\.json")


def rows(run: RunFolder) -> list[dict[str, Any]]:
    parts = [path for path in sorted(run.parts.iterdir()) if PART.fullmatch(path.name)]
    return [row for part in parts for row in json.loads(part.read_text())]


def answered(run: RunFolder) -> Counter[tuple[str, str]]:
    """(chunk, type) -> times in the first answers; every value has to be 1."""
    return Counter((row["chunk_id"], row["type"]) for row in rows(run) if not row["meta"].get("repaired"))


def journal(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for path in run.journal.glob("*.jsonl") for line in path.read_text().splitlines()]


def journal_keys(run: RunFolder) -> list[str]:
    """Of the clauses that are done; a clause that is asked again has a record before."""
    return [record["cache_key"] for record in journal(run) if record["state"] != "repairable"]
