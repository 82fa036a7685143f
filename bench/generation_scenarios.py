"""The scenarios of the generation benchmark. Each one runs a workload and checks its figures against limits."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from bench.generation_harness import (
    OUTPUT_TOKENS_PER_S,
    SINGLE_CHUNKS,
    Run,
    RunFigures,
    Simulator,
    floor_s,
    make_chunks,
    make_keys,
    measure,
    prepare,
    start_simulator,
)
from gemini_simulator.stats import SimulatorStats
from insurance_rag.core.files import write_json
from insurance_rag.core.records import Chunk
from insurance_rag.rate_limit.event_log import read_rate_limit_state

FAULTS = {"503": 0.02, "500": 0.01, "drop": 0.015, "malformed": 0.02, "max_tokens": 0.01, "blocked": 0.005}
KILLS = 20
KEYS = 7


@dataclass(frozen=True)
class Check:
    """A measured value and the limit that it must not exceed."""

    scenario: str
    figure: str
    value: float | None
    limit: float

    @property
    def passed(self) -> bool:
        return self.value is not None and self.value <= self.limit


@dataclass
class Bench:
    """Runs clients against simulators. Collects the measurements and their comparisons with the limits."""

    speed: float
    work: Path
    figures: dict[str, RunFigures] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    def run(
        self,
        name: str,
        chunks: int,
        *,
        key_facts: Mapping[str, object] | None = None,
        client: str = "pipeline",
        speed: float = 0,
        spec: Mapping[str, int] | None = None,
        settings: Mapping[str, object] = SINGLE_CHUNKS,
        rpm: int | None = None,
        **options: object,
    ) -> RunFigures:
        """Generate answers for `chunks` chunks with seven keys and return the figures of the run.

        `key_facts` holds additional fields for every key. `spec` holds additional fields for the RunSpec, `settings`
        are fields of GenerationConfig. `rpm` and `options` are settings of the simulator.
        """
        work = make_chunks(chunks)
        quota = {} if rpm is None else {"quota": {"rpm": rpm}}
        with start_simulator(speed or self.speed, **{**quota, **options}) as simulator:
            keys = make_keys(KEYS, **(key_facts or {}))
            run = prepare(self.work / name, simulator, work, keys, client, rpm, settings, **(spec or {}))
            run.start()
            run.wait()
            return self.keep(name, run, work, simulator.stats())

    def keep(self, name: str, run: Run, chunks: Sequence[Chunk], stats: SimulatorStats, **extra: int) -> RunFigures:
        """Measure a finished run. Print its figures and the counts in `extra`, and store them under `name`."""
        figures = measure(run, chunks, stats)
        figures.extra = extra
        self.figures[name] = figures
        hidden = ("projects", "outcomes", "files_with_key")
        shown = {k: v for k, v in asdict(figures).items() if k not in hidden and v not in (None, [], {})}
        print(f"  {name}: {json.dumps(shown, ensure_ascii=False)}\n", end="", flush=True)
        return figures

    def check(self, scenario: str, figure: str, value: float | None, limit: float) -> None:
        self.checks.append(Check(scenario, figure, value, limit))


def unknown_quota(b: Bench) -> None:
    """Process 400 chunks with seven keys, each limited to 10 requests per minute. The client must learn this limit."""
    f = b.run("unknown_quota", 400, rpm=10)
    b.check("unknown_quota", f"seconds (floor {floor_s(58, 10)})", f.seconds, 317)
    b.check("unknown_quota", "429s", f.refused_429, 7)
    b.check("unknown_quota", "lost chunks", f.lost_chunks, 0)
    b.check("unknown_quota", "MB per worker", f.mb_per_worker, 150)


def known_quota(b: Bench) -> None:
    """Process 400 chunks with seven keys, each limited to 10 requests per minute. The client knows the limit."""
    f = b.run("known_quota", 400, key_facts={"rpm": 10}, rpm=10)
    b.check("known_quota", f"seconds (floor {floor_s(58, 10)})", f.seconds, 317)
    b.check("known_quota", "429s", f.refused_429, 7)
    b.check("known_quota", "lost chunks", f.lost_chunks, 0)


def high_quota(b: Bench) -> None:
    """Process 1,800 chunks, the number in the reference design. Each key is limited to 60 requests per minute."""
    f = b.run("high_quota", 1800, rpm=60)
    b.check("high_quota", f"seconds (floor {floor_s(258, 60)})", f.seconds, 257)
    b.check("high_quota", "429s", f.refused_429, 14)
    b.check("high_quota", "lost chunks", f.lost_chunks, 0)


def other_windows(b: Bench) -> None:
    """Repeat unknown_quota with simulators that use fixed minutes or a token bucket instead of a rolling minute."""
    for kind in ("fixed", "bucket"):
        f = b.run(f"window_{kind}", 400, rpm=10, window=kind)
        b.check(f"window_{kind}", "lost chunks", f.lost_chunks, 0)


def faults(b: Bench) -> None:
    """Repeat unknown_quota with injected faults: HTTP errors, dropped connections, invalid answers, blocked chunks."""
    f = b.run("faults", 400, rpm=10, faults=FAULTS)
    b.check("faults", "lost chunks", f.lost_chunks, 0)
    b.check("faults", "seconds / floor of the admitted calls", ratio(f.seconds, f.floor_of_admitted_s), 1.05)
    b.check("faults", "files that contain a key", len(f.files_with_key), 0)


def killed(b: Bench) -> None:
    """Start a run against a simulator that injects faults, and kill the run with SIGKILL at 20 random moments.

    After each kill, the run is started again with the same command. The last start runs to the end.
    """
    killed_run(b, "killed", SINGLE_CHUNKS, FAULTS)


def killed_run(
    b: Bench, name: str, settings: Mapping[str, object], injected: Mapping[str, float], **options: object
) -> None:
    """Kill a run twenty times and check that nothing is lost, written twice or asked more often than necessary.

    `settings` are fields of GenerationConfig, `injected` the simulator's faults, `options` its other settings.
    """
    moments = sorted(random.Random(20).sample(range(5, 390), KILLS))
    chunks, in_flight, refused = make_chunks(400), 0, []
    with start_simulator(b.speed, quota={"rpm": 10}, faults=injected, **options) as simulator:
        run = prepare(b.work / name, simulator, chunks, make_keys(KEYS), rpm=10, settings=settings)
        log = run.spec.folder.rate_limit_log
        for moment in moments:
            run.start()
            wait_for_chunks(simulator, moment)
            run.kill()
            in_flight += sum(call.chunks for call in read_rate_limit_state(log).in_flight.values())
            refused.append(simulator.stats()["refused_429"])
        run.start()
        run.wait()
        stats = simulator.stats()
    refused.append(stats["refused_429"])
    most_429s = max(later - earlier for earlier, later in pairwise(refused))
    f = b.keep(name, run, chunks, stats, in_flight_at_kills=in_flight, most_429s_between_kills=most_429s)
    b.check(name, "lost chunks", f.lost_chunks, 0)
    b.check(name, "duplicate rows", f.duplicate_rows, 0)
    b.check(name, f"repeated answers for chunks (in flight at the kills: {in_flight})", f.repeated_calls, in_flight)
    b.check(name, "429s between two kills (fewer than one per key)", most_429s, 6)
    b.check(name, "files that contain a key", len(f.files_with_key), 0)


def wait_for_chunks(simulator: Simulator, n: int) -> None:
    """Wait until the simulator has answered requests for `n` chunks."""
    while simulator.stats()["chunks_answered"] < n:
        time.sleep(0.02)


def one_project(b: Bench) -> None:
    """Use seven keys that share one project's quota of 70 requests per minute."""
    projects = {key.key.get_secret_value(): "shared" for key in make_keys(KEYS)}
    f = b.run("one_project", 400, key_facts={"project": "shared"}, rpm=70, projects=projects)
    b.check("one_project", "seconds / floor", ratio(f.seconds, floor_s(400, 70)), 1.1)
    b.check("one_project", "429s", f.refused_429, 19)
    b.check("one_project", "lost chunks", f.lost_chunks, 0)


def token_quota(b: Bench) -> None:
    """Limit input tokens per minute instead of requests; the client does not know the limit."""
    f = b.run("token_quota", 400, quota={"tpm": 6000})
    floor = floor_s(max(project.tokens for project in f.projects.values()), 6000)
    b.check("token_quota", f"seconds (floor {floor}, plus 10 %)", f.seconds, round(1.1 * floor, 1))
    b.check("token_quota", "429s", f.refused_429, 19)
    b.check("token_quota", "lost chunks", f.lost_chunks, 0)


def daily_quota(b: Bench) -> None:
    """Let every key use up its daily quota of 20 requests."""
    f = b.run("daily_quota", 400, rpm=10, quota={"rpm": 10, "rpd": 20})
    after = max(project.calls_after_daily_quota for project in f.projects.values())
    b.check("daily_quota", "calls of a key after its first 429 of the daily quota", after, 2)
    b.check("daily_quota", "files that contain a key", len(f.files_with_key), 0)


def dead_keys(b: Bench) -> None:
    """Reject four of seven keys permanently; the client must move their chunks to the other keys."""
    keys, chunks = make_keys(KEYS), make_chunks(120)
    secret = [key.key.get_secret_value() for key in keys]
    with start_simulator(
        b.speed,
        quota={"rpm": 30},
        quotas={"zero": {"rpm": 0}},
        projects={s: f"p{i}" for i, s in enumerate(secret)} | {secret[3]: "zero"},
        key_states={secret[0]: "invalid", secret[1]: "leaked", secret[2]: "suspended"},
    ) as simulator:
        run = prepare(b.work / "dead_keys", simulator, chunks, keys, rpm=30)
        keys_file = b.work / "keys.json"
        write_json(keys_file, run.spec.keys)
        generate = [sys.executable, "-m", "insurance_rag", "generate"]
        command = [*generate, "--run", str(run.folder), "--keys", str(keys_file)]
        with (run.folder / "log.txt").open("ab") as log:
            code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        stats = simulator.stats()
    f = b.keep("dead_keys", run, chunks, stats, exit_code=code)
    most = max(f.projects[name].calls for name in ("p0", "p1", "p2", "zero"))
    b.check("dead_keys", "calls of a dead key", most, 2)
    b.check("dead_keys", "lost chunks", f.lost_chunks, 0)
    b.check("dead_keys", "files that contain a key", len(f.files_with_key), 0)


def batch_mode(b: Bench) -> None:
    """Use batch mode while the simulator injects faults. Ordinary calls repeat the requests that fail in a batch."""
    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.errors import IncompleteError
    from insurance_rag.generation import generate_run
    from insurance_rag.generation.batch import fetch_batch, poll_batch, submit_batch

    keys, chunks = make_keys(KEYS), make_chunks(400)
    with start_simulator(b.speed, quota={"rpm": 10}, faults=FAULTS, batch_s=60) as simulator:
        run = prepare(b.work / "batch_mode", simulator, chunks, keys)
        folder, config = run.spec.folder, GenerationConfig(base_url=simulator.url, quota_window_s=60 / b.speed)
        handles = [(submit_batch(folder, n, key, config), key) for n, key in enumerate(keys, 1)]
        for handle, key in handles:
            assert handle is not None
            while not poll_batch(handle, key, config):
                time.sleep(1 / b.speed)
            with contextlib.suppress(IncompleteError):
                fetch_batch(folder, handle, key, config)
        generate_run(folder, keys, config)
        f = b.keep("batch_mode", run, chunks, simulator.stats())
    at_full_price = sum(project.admitted for project in f.projects.values())
    b.check("batch_mode", "lost chunks", f.lost_chunks, 0)
    b.check("batch_mode", "calls at the full price per chunk", round(at_full_price / len(chunks), 3), 0.1)


def reference_client(b: Bench) -> None:
    """Run the algorithm of the reference design (docs/origin.md) twice: without faults and with injected faults."""
    b.run("reference", 400, client="reference", rpm=10)
    b.run("reference, faults", 400, client="reference", rpm=10, faults=FAULTS)


def google_genai_client(b: Bench) -> None:
    """Run google-genai four times, with 4 calls in flight per key.

    The first two runs make up to 5 attempts per call, and the simulator injects faults into the second. The third run
    makes up to 12 attempts per call, without faults. The fourth sends 8 chunks per call with this pipeline's prompt.
    """
    for suffix, attempts, injected, packed in (
        ("", 5, {}, 1),
        (", faults", 5, FAULTS, 1),
        (", 12 attempts", 12, {}, 1),
        (", 8 chunks per call", 12, {}, 8),
    ):
        spec = {"attempts": attempts, "concurrency": 4, "chunks_per_call": packed}
        rate = OUTPUT_TOKENS_PER_S if packed > 1 else None
        name = f"google-genai{suffix}"
        b.run(name, 400, client="google-genai", spec=spec, rpm=10, faults=injected, output_tokens_per_s=rate)


def large_plan(b: Bench) -> None:
    """Measure how long it takes to plan 100,000 chunks and to open a journal with 100,000 answers."""
    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.records.generation import AnswerMeta, AnswerRecord, PairRecord, TokenCount
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.planning import make_plan, write_plan
    from insurance_rag.planning.generation_journal import GenerationJournal, encode_chunk_record

    chunks, keys = make_chunks(100_000), make_keys(KEYS)
    runs = [RunFolder(b.work / f"large_plan-{n}") for n in range(3)]

    def plan(run: RunFolder) -> None:
        write_plan(make_plan(chunks, keys, GenerationConfig()), run, chunks)

    # Other processes can only lengthen a measurement, so the shortest of three is the most accurate.
    planned = min(seconds(partial(plan, run)) for run in runs)
    journal = runs[0].journal
    journal.mkdir(parents=True)
    pairs = [
        PairRecord(type=kind, question="가" * 60, answer="나" * 120, evidence="다" * 100)
        for kind in ("fact", "scenario", "easy")
    ]
    meta = AnswerMeta(teacher="gemini", model="m", prompt_version="qa_v1@0", key_id="k1", at="2026-01-01T00:00:00Z")
    with (journal / "shard_1.jsonl").open("wb") as f:
        for n, chunk in enumerate(chunks):
            record = AnswerRecord(chunk_id=chunk.chunk_id, pairs=pairs, usage=TokenCount(), meta=meta)
            f.write(encode_chunk_record(f"{n:064x}", record))
    assert len(GenerationJournal(journal)) == len(chunks)
    opened = min(seconds(lambda: GenerationJournal(journal)) for _ in range(3))
    b.check("large_plan", "seconds to plan 100,000 chunks", planned, 5)
    b.check("large_plan", "seconds to open a journal with 100,000 answers", opened, 1)


def seconds(action: Callable[[], object]) -> float:
    """Run `action` and return how many seconds it takes."""
    started = time.perf_counter()
    action()
    return round(time.perf_counter() - started, 2)


def clock_speeds(b: Bench) -> None:
    """Run unknown_quota at half and twice the clock speed; the figures must not depend on the speed."""
    names = {k: f"unknown_quota at {b.speed * k:g}x" for k in (0.5, 2)}
    half, double = (b.run(names[k], 400, speed=b.speed * k, rpm=10) for k in (0.5, 2))
    quotient = ratio(half.seconds, double.seconds)
    difference = None if quotient is None else round(abs(quotient - 1), 3)
    b.check("clock_speeds", "relative difference of the seconds at half and twice the speed", difference, 0.03)


def ratio(a: float | None, b: float | None) -> float | None:
    """Return a / b, or None if either is missing or zero."""
    return round(a / b, 3) if a and b else None


Scenario = Callable[[Bench], None]

RATE_LIMITED: tuple[Scenario, ...] = (
    *(unknown_quota, known_quota, high_quota, faults, killed, one_project, token_quota, daily_quota, dead_keys),
    *(batch_mode, other_windows, clock_speeds, reference_client, google_genai_client),
)
"""Scenarios that mostly wait for a quota window and can therefore run in parallel."""
MACHINE_BOUND: tuple[Scenario, ...] = (large_plan,)
"""Scenarios that measure the speed of the machine and therefore run alone."""
