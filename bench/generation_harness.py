"""The harness of the generation benchmark: starts simulators and clients, and measures finished runs.

All times are in seconds of the simulator's clock.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gemini_simulator.stats import SimulatorStats
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import ApiKey, Chunk, QAPair
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.teachers.base import Pair
from insurance_rag.planning import make_plan, write_plan
from insurance_rag.validation.pair_check import pair_check

PLANTED_KEY = "planted-secret-key-{}"
LATENCY_S = 1.5
SINGLE_CHUNKS: dict[str, object] = {"chunks_per_call": 1, "repair": False}
"""Settings of the runs that are compared with other clients: one chunk per call, and no repairs."""
OUTPUT_TOKENS_PER_S = 250
"""Speed of the simulator's answers in runs with several chunks per call, so that long answers take longer."""


@dataclass
class Simulator:
    """A simulator that runs in a separate process."""

    url: str
    speed: float

    def stats(self) -> SimulatorStats:
        """Return the response to GET /stats."""
        stats: SimulatorStats = httpx.get(f"{self.url}/stats", timeout=60).json()
        return stats


@contextlib.contextmanager
def start_simulator(speed: float, **options: object) -> Iterator[Simulator]:
    """Run a simulator inside the `with` block; `options` are its settings. Raises RuntimeError if it does not start."""
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


def make_keys(n: int, **facts: object) -> list[ApiKey]:
    """Return `n` keys with the ids k1, k2, ... and the additional fields `facts`.

    All secrets begin with the same prefix. `files_with_key` searches for this prefix.
    """
    return [ApiKey.model_validate({"id": f"k{i}", "key": PLANTED_KEY.format(i), **facts}) for i in range(1, n + 1)]


def make_chunks(n: int) -> list[Chunk]:
    """Return `n` chunks: the sample chunks in a cycle, each with an extra sentence that makes the text unique."""
    sample = read_chunks("sample")
    made = []
    for number in range(n):
        chunk = sample[number % len(sample)]
        text = f"{chunk.text}\n이 조의 관리번호는 {number + 1:06d}번입니다."
        made.append(chunk.model_copy(update={"chunk_id": f"bench_{number + 1:06d}", "text": text}))
    return made


@dataclass(frozen=True)
class RunSpec:
    """The settings of a run. The worker processes read them from spec.json."""

    client: str
    run: str
    url: str
    speed: float
    keys: list[dict[str, str | int | None]]
    concurrency: int = 1
    """Number of calls in flight per key (google-genai only)."""
    attempts: int = 1
    """Maximum number of requests per call, including retries (google-genai only)."""
    chunks_per_call: int = 1
    """Number of chunks in each call (google-genai only)."""

    @property
    def folder(self) -> RunFolder:
        return RunFolder(Path(self.run))


@dataclass(frozen=True)
class WorkerResult:
    """The content of RUN/workers/N.json. Every worker process writes one such file when it ends."""

    answered: list[str]
    """Ids of the chunks that the worker got an answer for."""
    error: str
    rss_mb: float
    """Peak memory of the worker."""


@dataclass
class Run:
    """One run of one client."""

    folder: Path
    spec: RunSpec
    rpm: int | None = None
    """The simulator's limit on requests per minute and project; None if requests are not limited."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the worker processes."""
        write_json(self.folder / "spec.json", vars(self.spec))
        command = [sys.executable, "-m", "bench.generation_clients", str(self.folder / "spec.json")]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def wait(self) -> None:
        """Wait until all workers have ended."""
        assert self.process
        self.process.wait()

    def kill(self) -> None:
        """Send SIGKILL to the process group of the workers. The group also contains their parent process."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def worker_results(self) -> list[WorkerResult]:
        """Return the results that the workers have written."""
        paths = sorted((self.folder / "workers").glob("[0-9]*.json"))
        return [WorkerResult(**read_json(path)) for path in paths]


def prepare(
    folder: Path,
    simulator: Simulator,
    chunks: Sequence[Chunk],
    keys: Sequence[ApiKey],
    client: str = "pipeline",
    rpm: int | None = None,
    settings: Mapping[str, object] = SINGLE_CHUNKS,
    **spec: int,
) -> Run:
    """Plan a run for `client` in a new folder.

    `settings` are fields of GenerationConfig. `spec` holds the optional fields of the RunSpec.
    """
    folder.mkdir(parents=True)
    (folder / "workers").mkdir()
    config = GenerationConfig.model_validate(
        {"base_url": simulator.url, "quota_window_s": 60 / simulator.speed, **settings}
    )
    write_plan(make_plan(chunks, keys, config), RunFolder(folder), chunks)
    plain_keys = [{**key.model_dump(mode="json"), "key": key.key.get_secret_value()} for key in keys]
    return Run(folder, RunSpec(client, str(folder), simulator.url, simulator.speed, plain_keys, **spec), rpm)


@dataclass
class ProjectFigures:
    """The simulator's statistics on one project. The fields have the same meaning as in RequestStats."""

    calls: int
    admitted: int
    answered: int
    refused_429: int
    tokens: int
    calls_after_daily_quota: int
    outcomes: dict[str, int]


@dataclass
class RunFigures:
    """The figures of a finished run."""

    seconds: float | None
    """Time from the first request to the last answer; None if there were no answers."""
    refused_429: int
    calls: int
    lost_chunks: int
    """Number of chunks without an answer, except those that the simulator blocks."""
    duplicate_rows: int
    repeated_calls: int
    """Number of unnecessary answers: the same request had already been answered."""
    repair_calls: int
    chunks_per_call: float
    """Mean number of chunks in the calls."""
    accepted_pairs: int
    """Number of rows that the validation rules keep."""
    tokens: int
    floor_of_admitted_s: float | None
    """Shortest time in which the quota allows the number of admitted calls. Calls that ended in a fault also count."""
    mb_per_worker: float | None
    errors: list[str]
    files_with_key: list[str]
    projects: dict[str, ProjectFigures]
    outcomes: dict[str, int]
    extra: dict[str, int] = field(default_factory=dict)
    """Additional counts that only one scenario reports, by name."""


def measure(run: Run, chunks: Sequence[Chunk], stats: SimulatorStats) -> RunFigures:
    """Return the figures of a finished run."""
    results = run.worker_results()
    if run.spec.client == "pipeline":
        answered = count_rows(run.folder)
    else:
        answered = Counter(chunk_id for result in results for chunk_id in result.answered)
    blocked = sum("blocked" in outcomes for outcomes in stats["chunks"].values())
    first_s, last_s = stats["first_s"], stats["last_answer_s"]
    return RunFigures(
        seconds=None if first_s is None or last_s is None else round(last_s - first_s, 1),
        refused_429=stats["refused_429"],
        calls=stats["calls"],
        lost_chunks=len(chunks) - len(answered) - blocked,
        duplicate_rows=sum(n - 1 for n in answered.values()),
        repeated_calls=stats["repeated_answers"],
        repair_calls=stats["corrections"],
        chunks_per_call=stats["mean_chunks_per_call"],
        accepted_pairs=accepted_pairs(run.folder) if run.spec.client == "pipeline" else 0,
        tokens=stats["tokens"],
        floor_of_admitted_s=floor_of_admitted_s(stats, run.rpm),
        mb_per_worker=max((result.rss_mb for result in results), default=None),
        errors=[result.error[:200] for result in results if result.error],
        files_with_key=files_with_key(run.folder),
        projects={
            name: ProjectFigures(
                calls=project["calls"],
                admitted=project["admitted"],
                answered=project["answered"],
                refused_429=project["refused_429"],
                tokens=project["tokens"],
                calls_after_daily_quota=project["calls_after_daily_quota"],
                outcomes=project["outcomes"],
            )
            for name, project in stats["projects"].items()
        },
        outcomes=stats["outcomes"],
    )


def accepted_pairs(folder: Path) -> int:
    """Return how many rows of the part files the row rules of the validation keep."""
    check = pair_check()
    chunks = {chunk.chunk_id: chunk for chunk in read_chunks(RunFolder(folder).chunks)}
    rows = [row for path in part_files(folder) for row in map(QAPair.model_validate, read_json(path))]
    pairs = [(row.chunk_id, Pair(row.type, row.instruction, row.output, row.evidence)) for row in rows]
    return sum(check(chunks[chunk_id], [pair]) == [None] for chunk_id, pair in pairs)


def part_files(folder: Path) -> list[Path]:
    """Return the paths of the part files, without their manifests."""
    return [p for p in RunFolder(folder).parts.glob("dataset_part_*.json") if not p.name.endswith(".manifest.json")]


def count_rows(folder: Path) -> Counter[str]:
    """Count identical rows in the part files. Return chunk id -> number of copies of the chunk's most frequent row.

    A count above one means that the run wrote a duplicate row.
    """
    rows: Counter[tuple[str, str, str]] = Counter()
    for path in part_files(folder):
        for row in map(QAPair.model_validate, read_json(path)):
            # Faulty rows do not count: a part contains them in addition to their repaired versions.
            if "fault" not in row.meta:
                rows[row.chunk_id, row.type, row.instruction] += 1
    times: Counter[str] = Counter()
    for (chunk_id, _, _), n in rows.items():
        times[chunk_id] = max(times[chunk_id], n)
    return times


def floor_s(n: int, per_minute: int) -> float:
    """Return the shortest time in seconds that `n` calls take if at most `per_minute` calls are allowed per minute."""
    return (math.ceil(n / per_minute) - 1) * 60 + LATENCY_S


def floor_of_admitted_s(stats: SimulatorStats, rpm: int | None) -> float | None:
    """Return the least seconds that the busiest project's admitted calls take at `rpm` requests per minute.

    The busiest project is the one with the most admitted calls. Returns None if requests are not limited or no call was
    admitted.
    """
    most = max((project["admitted"] for project in stats["projects"].values()), default=0)
    return floor_s(most, rpm) if rpm and most else None


def files_with_key(folder: Path) -> list[str]:
    """Return the names of the run's files, including logs, that contain an API key. Skips the benchmark's spec.json."""
    needle = PLANTED_KEY.partition("{")[0].encode()
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "spec.json")
    return [path.name for path in files if needle in path.read_bytes()]
