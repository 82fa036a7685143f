"""What the generation benchmark measures with: a simulator process, run folders, and the count of what came out.

All times are seconds of the simulator's clock, from the first request to the last answer.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import ApiKey, Chunk
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning import make_plan, write_plan

HERE = Path(__file__).parent
SECRET = "planted-secret-key-{}"
LATENCY_S = 1.5


@dataclass
class Simulator:
    """A simulator in a process of its own."""

    url: str
    speed: float

    def stats(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.url}/stats", timeout=60).json())


@contextlib.contextmanager
def simulator(speed: float, **options: Any) -> Iterator[Simulator]:
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        settings = {"latency_s": LATENCY_S, "defects": 0.15, **options}
        arguments = [f"--set={name}={json.dumps(value)}" for name, value in settings.items()]
        command = [sys.executable, "-m", "insurance_rag", "simulate", "--speed", str(speed)]
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen([*command, "--ready-file", str(ready), *arguments], stdout=out, stderr=out)
            try:
                while not ready.exists():
                    if process.poll() is not None:
                        raise RuntimeError(f"the simulator did not start:\n{log.read_text()}")
                    time.sleep(0.02)
                yield Simulator(read_json(ready)["url"], speed)
            finally:
                process.terminate()
                process.wait()


def make_keys(n: int, **told: Any) -> list[ApiKey]:
    return [ApiKey.model_validate({"id": f"k{i}", "key": SECRET.format(i), **told}) for i in range(1, n + 1)]


def make_chunks(n: int) -> list[Chunk]:
    """Sample clauses, each made unlike any other by a sentence of its own."""
    sample = read_chunks("sample")
    made = []
    for number in range(n):
        chunk = sample[number % len(sample)]
        text = f"{chunk.text}\n이 조의 관리번호는 {number + 1:06d}번입니다."
        made.append(chunk.model_copy(update={"chunk_id": f"bench_{number + 1:06d}", "text": text}))
    return made


@dataclass
class Race:
    """One run of one client; `spec` is what its worker processes read."""

    folder: Path
    spec: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        write_json(self.folder / "spec.json", self.spec)
        command = [sys.executable, str(HERE / "generation_clients.py"), str(self.folder / "spec.json")]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def wait(self) -> None:
        assert self.process
        self.process.wait()

    def kill(self) -> None:
        """kill -9 to the workers and their parent: the process group that `start` made."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def workers(self) -> list[dict[str, Any]]:
        return [read_json(path) for path in sorted((self.folder / "workers").glob("[0-9]*.json"))]


def prepare(
    folder: Path, sim: Simulator, chunks: Sequence[Chunk], keys: Sequence[ApiKey], client: str = "ours", **spec: Any
) -> Race:
    """A planned run folder for `client`."""
    folder.mkdir(parents=True)
    (folder / "workers").mkdir()
    config = GenerationConfig(base_url=sim.url, quota_window_s=60 / sim.speed)
    write_plan(make_plan(chunks, keys, config), RunFolder(folder), chunks)
    told = [{**key.model_dump(mode="json"), "key": key.key.get_secret_value()} for key in keys]
    facts = {"client": client, "run": str(folder), "url": sim.url, "speed": sim.speed, "keys": told}
    return Race(folder, {**facts, **spec})


def outcome(race: Race, chunks: Sequence[Chunk], stats: dict[str, Any]) -> dict[str, Any]:
    """What a finished run shows: seconds, 429s, calls, what is missing, what is there twice, MB a worker."""
    workers = race.workers()
    if race.spec["client"] == "ours":
        have = rows_of(race.folder)
    else:
        have = Counter(chunk_id for worker in workers for chunk_id in worker["answered"])
    blocked = sum("blocked" in outcomes for outcomes in stats["chunks"].values())
    return {
        "seconds": round(stats["last_answer_s"] - stats["first_s"], 1) if stats["answered"] else None,
        "refused_429": stats["refused_429"],
        "calls": stats["calls"],
        "lost": len(chunks) - len(have) - blocked,
        "twice": sum(n - 1 for n in have.values()),
        "repeats": stats["repeated_answers"],
        "admitted_floor": floor_of_admitted(stats, race.spec.get("limit")),
        "mb": max((worker["rss_mb"] for worker in workers), default=None),
        "errors": [worker["error"][:200] for worker in workers if worker["error"]],
        "leaks": leaks(race.folder),
    }


def rows_of(folder: Path) -> Counter[str]:
    """How often each chunk's rows are in the parts: chunk_id -> times (a chunk has one row a type and question)."""
    rows: Counter[tuple[str, str, str]] = Counter()
    for path in RunFolder(folder).parts.glob("dataset_part_*.json"):
        if path.name.endswith(".manifest.json"):
            continue
        # A first answer that was asked for again may be repeated by the second, which stands beside it.
        whole = (row for row in read_json(path) if "fault" not in row["meta"])
        rows.update((row["chunk_id"], row["type"], row["instruction"]) for row in whole)
    times: Counter[str] = Counter()
    for (chunk_id, _, _), n in rows.items():
        times[chunk_id] = max(times[chunk_id], n)
    return times


def floor_s(n: int, per_minute: int) -> float:
    """The soonest that n calls can be answered at so many a minute."""
    return (math.ceil(n / per_minute) - 1) * 60 + LATENCY_S


def floor_of_admitted(stats: dict[str, Any], limit: int | None) -> float | None:
    """The floor of the calls that were admitted, faults included, by the project that had most."""
    most = max((project["admitted"] for project in stats["projects"].values()), default=0)
    return floor_s(most, limit) if limit and most else None


def leaks(folder: Path) -> list[str]:
    """Files of the run, logs included, that hold a planted key. The benchmark's own spec.json is not of the run."""
    needle = SECRET.partition("{")[0].encode()
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "spec.json")
    return [path.name for path in files if needle in path.read_bytes()]
