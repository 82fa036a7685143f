"""The how-to pages about keys, failed shards and refreshes work as written, on the simulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reader import Shell, missing_lines, read_steps

from gemini_simulator import running_simulator
from insurance_rag.core.files import read_jsonl, write_json, write_jsonl

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/how-to"
SAMPLE = ROOT / "include/insurance_rag/samples/chunked_data.jsonl"
KEYS = [
    {"id": "k1", "key": "key-a1", "project": "team-a", "rpm": 10},
    {"id": "k2", "key": "key-a2", "project": "team-a", "rpm": 10},
    {"id": "k3", "key": "dead-key", "project": "team-b"},
]


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    """A simulator whose minute lasts a second, in which the project of `k3` is suspended."""
    with running_simulator(
        quota={"rpm": 10},
        speed=60,
        projects={"key-a1": "team-a", "key-a2": "team-a"},
        key_states={"dead-key": "suspended"},
    ) as simulator:
        yield simulator.url


def test_the_pages_work_as_written(tmp_path: Path, simulator: str) -> None:
    write_json(tmp_path / "keys.json", KEYS)
    write_json(tmp_path / "new-keys.json", json.loads(json.dumps(KEYS).replace("dead-key", "new-key")))
    chunks = read_jsonl(SAMPLE)
    for chunk in chunks[:2]:
        chunk["text"] += " 이 조항은 개정되었습니다."
    write_jsonl(tmp_path / "new.jsonl", chunks)
    shell = Shell(tmp_path)
    try:
        shell.run(f"export GEMINI_BASE_URL={simulator} GEMINI_QUOTA_WINDOW_S=1")
        shell.run("insurance-rag plan --chunks sample --keys keys.json --out runs/2")
        for page in ("keys.md", "failed-shard.md", "schedule.md"):
            for step in read_steps(PAGES / page):
                command = step.commands.replace("\\\n", "").strip()
                if not command.startswith("insurance-rag"):  # Airflow's own commands
                    continue
                printed, exit_code = shell.run(command)
                assert exit_code == (3 if command.endswith("--shard 3") else 0), "\n".join([command, *printed])
                missing = missing_lines(step.shown, printed)
                assert not missing, "\n".join([f"{page} shows lines that were not printed:", *missing, "", *printed])
    finally:
        shell.close()
