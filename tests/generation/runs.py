"""Small runs against the simulator, over real HTTP."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.generation.fixed_server import Server

from gemini_simulator import RunningSimulator
from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import read_json
from insurance_rag.core.journal import Journal
from insurance_rag.core.records import ApiKey, Chunk, QAPair
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning import make_plan, write_plan

BREADCRUMBS = "한빛 암보험 > 제1관"
METADATA = {
    "source": "s",
    "company": "한빛생명",
    "breadcrumbs": BREADCRUMBS,
    "token_count": 30,
    "policy_type": "암보험",
}
SINGLE: dict[str, object] = {"chunks_per_call": 1, "questions": {"near_miss_share": 0}}
"""Settings for tests that count calls: one chunk per call, and three pairs for every chunk."""
PART_NAME = re.compile(r"dataset_part_\d+\.json")


def chunks(n: int, start: int = 1) -> list[Chunk]:
    """Return `n` chunks with different amounts and periods."""
    return [
        Chunk.model_validate(
            {
                "chunk_id": f"c{i:05}",
                "text": f"제{i}조(입원보험금)\n① 회사는 입원하면 {i}만원을 지급합니다.\n② 청구는 {i}일 안에 합니다.",
                "metadata": METADATA,
            }
        )
        for i in range(start, start + n)
    ]


def keys(n: int, **facts: object) -> list[ApiKey]:
    """Return the keys k1, k2 ... with the secrets secret-1, secret-2 ..."""
    return [ApiKey.model_validate({"id": f"k{i}", "key": f"secret-{i}", **facts}) for i in range(1, n + 1)]


def planned(
    folder: Path, server: RunningSimulator | Server, n: int, with_keys: list[ApiKey], **settings: object
) -> tuple[RunFolder, GenerationConfig]:
    """Return a run folder with a plan for `n` chunks on `server`, and the configuration."""
    run = RunFolder(folder)
    config = GenerationConfig.model_validate({"base_url": server.url, "quota_window_s": server.window_s, **settings})
    write_plan(make_plan(chunks(n), with_keys, config), run, chunks(n))
    return run, config


def rows(run: RunFolder) -> list[QAPair]:
    """Return the rows of all part files."""
    parts = [path for path in sorted(run.parts.iterdir()) if PART_NAME.fullmatch(path.name)]
    return [QAPair.model_validate(row) for part in parts for row in read_json(part)]


def read_part(run: RunFolder, shard: int) -> list[QAPair]:
    """Return the rows of one part file."""
    return [QAPair.model_validate(row) for row in read_json(run.part(shard))]


def first_answers(run: RunFolder) -> Counter[tuple[str, str]]:
    """Return how many first answers exist per (chunk, type); repaired rows do not count. Every value has to be 1."""
    return Counter((row.chunk_id, row.type) for row in rows(run) if not row.meta.get("repaired"))


def journal_records(run: RunFolder) -> list[dict[str, object]]:
    """Return the records of all journal files, without their checksums."""
    return [dict(record) for path in run.journal.glob("*.jsonl") for record in Journal(path).read_new()]


def finished_keys(run: RunFolder) -> list[str]:
    """Return the cache keys of the finished chunks. A repaired chunk has an earlier record, which does not count."""
    return [str(record["cache_key"]) for record in journal_records(run) if record["state"] != "repairable"]
