"""The scenarios of the generation benchmark: what is measured, and what it may be at most."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from generation_harness import Race, Simulator, floor_s, make_chunks, make_keys, outcome, prepare, simulator

from insurance_rag.core.files import write_json

FAULTS = {"503": 0.02, "500": 0.01, "drop": 0.015, "malformed": 0.02, "max_tokens": 0.01, "blocked": 0.005}
KILLS = 20

Figures = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """A figure and what it must not pass."""

    scenario: str
    what: str
    value: float | None
    limit: float

    @property
    def passed(self) -> bool:
        return self.value is not None and self.value <= self.limit


@dataclass
class Bench:
    """The figures of a scenario's runs and the checks on them."""

    speed: float
    work: Path
    figures: dict[str, Figures] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    def run(
        self,
        name: str,
        chunks: int,
        *,
        told: Figures | None = None,
        client: str = "ours",
        spec: Figures | None = None,
        speed: float = 0,
        **options: Any,
    ) -> Figures:
        """One client's run to its end; `told` is what its 7 keys say of their quota, `options` are the simulator's."""
        work = make_chunks(chunks)
        with simulator(speed or self.speed, **options) as sim:
            limit = options.get("quota", {}).get("rpm")
            keys = make_keys(7, **(told or {}))
            race = prepare(self.work / name, sim, work, keys, client, limit=limit, **(spec or {}))
            race.start()
            race.wait()
            return self.keep(name, race, work, sim.stats())

    def keep(self, name: str, race: Race, chunks: list[Any], stats: Figures, **more: Any) -> Figures:
        self.figures[name] = f = {**outcome(race, chunks, stats), **more, "stats": brief(stats)}
        shown = {k: v for k, v in f.items() if k not in ("stats", "leaks") and v not in (None, [])}
        print(f"  {name}: {json.dumps(shown, ensure_ascii=False)}\n", end="", flush=True)
        return f

    def check(self, scenario: str, what: str, value: float | None, limit: float) -> None:
        self.checks.append(Check(scenario, what, value, limit))


def brief(stats: Figures) -> Figures:
    keep = ("calls", "admitted", "answered", "refused_429", "tokens", "calls_after_daily_quota", "outcomes")
    return {
        "projects": {k: {n: v[n] for n in keep} for k, v in stats["projects"].items()},
        "outcomes": stats["outcomes"],
    }


# ---- scenarios: what is measured, and what it may be at most


def narrow(b: Bench) -> None:
    """400 chunks, 7 keys of 10 requests a minute each, a quota that nobody told."""
    f = b.run("narrow", 400, quota={"rpm": 10})
    b.check("narrow", f"seconds (floor {floor_s(58, 10)})", f["seconds"], 317)
    b.check("narrow", "429s", f["refused_429"], 7)
    b.check("narrow", "lost", f["lost"], 0)
    b.check("narrow", "MB a worker", f["mb"], 150)


def told(b: Bench) -> None:
    """The same, the quota told with the keys."""
    f = b.run("told", 400, told={"rpm": 10}, quota={"rpm": 10})
    b.check("told", f"seconds (floor {floor_s(58, 10)})", f["seconds"], 317)
    b.check("told", "429s", f["refused_429"], 7)
    b.check("told", "lost", f["lost"], 0)


def wide(b: Bench) -> None:
    """The source's size: 1,800 chunks at 60 a minute a key."""
    f = b.run("wide", 1800, quota={"rpm": 60})
    b.check("wide", f"seconds (floor {floor_s(258, 60)})", f["seconds"], 257)
    b.check("wide", "429s", f["refused_429"], 14)
    b.check("wide", "lost", f["lost"], 0)


def windows(b: Bench) -> None:
    """The same work where the minute is counted otherwise."""
    for kind in ("fixed", "bucket"):
        f = b.run(f"window {kind}", 400, quota={"rpm": 10}, window=kind)
        b.check(f"window {kind}", "lost", f["lost"], 0)


def faults(b: Bench) -> None:
    """Faults of every kind."""
    f = b.run("faults", 400, quota={"rpm": 10}, faults=FAULTS)
    b.check("faults", "lost", f["lost"], 0)
    b.check("faults", "seconds / floor of what was admitted", ratio(f["seconds"], f["admitted_floor"]), 1.05)
    b.check("faults", "files that hold a key", len(f["leaks"]), 0)


def killed(b: Bench) -> None:
    """kill -9 at 20 random moments of a run with faults, each time the same command again."""
    moments = sorted(random.Random(20).sample(range(5, 390), KILLS))
    chunks, at_risk, refusals = make_chunks(400), 0, []
    with simulator(b.speed, quota={"rpm": 10}, faults=FAULTS) as sim:
        race = prepare(b.work / "killed", sim, chunks, make_keys(7), limit=10)
        for moment in moments:
            race.start()
            reached = wait_for_answers(sim, moment)
            race.kill()
            after = sim.stats()
            refusals.append(after["refused_429"])
            at_risk += reached["in_flight"] + after["admitted"] - reached["admitted"]
        race.start()
        race.wait()
        stats = sim.stats()
    refusals.append(stats["refused_429"])
    burst = max(later - earlier for earlier, later in pairwise(refusals))
    f = b.keep("killed", race, chunks, stats, at_risk=at_risk, burst=burst)
    b.check("killed", "lost", f["lost"], 0)
    b.check("killed", "rows twice", f["twice"], 0)
    b.check("killed", f"repeats (in flight at the kills: {at_risk})", f["repeats"], at_risk)
    b.check("killed", "429s between any two kills: less than one a key", burst, 6)
    b.check("killed", "files that hold a key", len(f["leaks"]), 0)


def wait_for_answers(sim: Simulator, n: int) -> Figures:
    while True:
        stats = sim.stats()
        if stats["answered"] >= n:
            return stats
        time.sleep(0.02)


def one_project(b: Bench) -> None:
    """Seven keys of one project, which has 70 requests a minute."""
    projects = {key.key.get_secret_value(): "shared" for key in make_keys(7)}
    f = b.run("one project", 400, told={"project": "shared"}, quota={"rpm": 70}, projects=projects)
    b.check("one project", "seconds / floor", ratio(f["seconds"], floor_s(400, 70)), 1.1)
    b.check("one project", "429s", f["refused_429"], 19)
    b.check("one project", "lost", f["lost"], 0)


def tokens(b: Bench) -> None:
    """Input tokens are the limit, and nobody told it."""
    f = b.run("tokens", 400, quota={"tpm": 6000})
    most = max(project["tokens"] for project in f["stats"]["projects"].values())
    b.check(
        "tokens",
        f"seconds (floor {floor_s(most, 6000)}, and a tenth)",
        f["seconds"],
        round(1.1 * floor_s(most, 6000), 1),
    )
    b.check("tokens", "429s", f["refused_429"], 19)
    b.check("tokens", "lost", f["lost"], 0)


def day_over(b: Bench) -> None:
    """A day's quota of 20 requests a key runs out."""
    f = b.run("day over", 400, quota={"rpm": 10, "rpd": 20})
    after = max(project["calls_after_daily_quota"] for project in f["stats"]["projects"].values())
    b.check("day over", "requests of a key after its first such 429", after, 2)
    b.check("day over", "files that hold a key", len(f["leaks"]), 0)


def dead_keys(b: Bench) -> None:
    """Four of seven keys are refused for good; what they leave over goes to the others, by the command of a person."""
    keys, chunks = make_keys(7), make_chunks(120)
    secret = [key.key.get_secret_value() for key in keys]
    states = {secret[0]: "invalid", secret[1]: "leaked", secret[2]: "suspended"}
    projects = {s: f"p{i}" for i, s in enumerate(secret)} | {secret[3]: "zero"}
    options = {"quota": {"rpm": 30}, "quotas": {"zero": {"rpm": 0}}, "projects": projects, "key_states": states}
    with simulator(b.speed, **options) as sim:
        race = prepare(b.work / "dead keys", sim, chunks, keys, limit=30)
        keys_file = b.work / "keys.json"
        write_json(keys_file, race.spec["keys"])
        generate = [sys.executable, "-m", "insurance_rag", "generate"]
        command = [*generate, "--run", str(race.folder), "--keys", str(keys_file)]
        with (race.folder / "log.txt").open("ab") as log:
            code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        stats = sim.stats()
    f = b.keep("dead keys", race, chunks, stats, exit_code=code)
    dead = ("p0", "p1", "p2", "zero")
    b.check("dead keys", "requests of a dead key", max(stats["projects"][name]["calls"] for name in dead), 2)
    b.check("dead keys", "lost", f["lost"], 0)
    b.check("dead keys", "files that hold a key", len(f["leaks"]), 0)


def batch(b: Bench) -> None:
    """Batch mode under faults: what fails in the batch is asked again one by one."""
    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.errors import IncompleteError
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.generation import generate_run
    from insurance_rag.generation.batch import fetch_batch, poll_batch, submit_batch

    keys, chunks = make_keys(7), make_chunks(400)
    with simulator(b.speed, quota={"rpm": 10}, faults=FAULTS, batch_s=60) as sim:
        race = prepare(b.work / "batch", sim, chunks, keys)
        run, config = RunFolder(race.folder), GenerationConfig(base_url=sim.url, quota_window_s=60 / b.speed)
        handles = [(submit_batch(run, n, key, config), key) for n, key in enumerate(keys, 1)]
        for handle, key in handles:
            while not poll_batch(handle, key, config):
                time.sleep(1 / b.speed)
            with contextlib.suppress(IncompleteError):
                fetch_batch(run, handle, key, config)
        generate_run(run, keys, config)
        f = b.keep("batch", race, chunks, sim.stats())
    single = sum(project["admitted"] for project in f["stats"]["projects"].values())
    b.check("batch", "lost", f["lost"], 0)
    b.check("batch", "calls at the full price, share of the chunks", round(single / len(chunks), 3), 0.1)


def source(b: Bench) -> None:
    """The source's algorithm, without and with faults."""
    b.run("source", 400, client="source", quota={"rpm": 10})
    b.run("source, faults", 400, client="source", quota={"rpm": 10}, faults=FAULTS)


def official(b: Bench) -> None:
    """google-genai, 4 calls at a time a key, with its own 5 tries; without and with faults; and with 12 tries."""
    for name, tries, injected in (("", 5, {}), (", faults", 5, FAULTS), (", 12 tries", 12, {})):
        spec = {"attempts": tries, "concurrency": 4}
        b.run(f"google-genai{name}", 400, client="official", spec=spec, quota={"rpm": 10}, faults=injected)


def large(b: Bench) -> None:
    """100,000 chunks planned; a journal of 100,000 answers opened again."""
    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.journal import encode_record
    from insurance_rag.core.run_folder import RunFolder
    from insurance_rag.planning import make_plan, write_plan
    from insurance_rag.planning.generation_journal import GenerationJournal

    chunks, keys = make_chunks(100_000), make_keys(7)

    def plan(run: RunFolder) -> None:
        write_plan(make_plan(chunks, keys, GenerationConfig()), run, chunks)

    runs = [RunFolder(b.work / f"large-{n}") for n in range(3)]
    planned = min(seconds(plan, run) for run in runs)  # of three: a neighbour on this machine only makes it slower
    journal = runs[0].journal
    journal.mkdir(parents=True)
    texts = {"question": "가" * 60, "answer": "나" * 120, "evidence": "다" * 100}
    pairs = [{"type": kind, **texts} for kind in ("fact", "scenario", "easy")]
    with (journal / "shard_1.jsonl").open("wb") as f:
        for n, chunk in enumerate(chunks):
            key = {"cache_key": f"{n:064x}", "state": "answered"}
            f.write(encode_record({**key, "chunk_id": chunk.chunk_id, "pairs": pairs, "usage": {}}))
    assert len(GenerationJournal(journal)) == len(chunks)
    opened = min(seconds(GenerationJournal, journal) for _ in range(3))
    b.check("large", "seconds to plan 100,000 chunks", planned, 5)
    b.check("large", "seconds to open a journal of 100,000", opened, 3)


def seconds(act: Callable[[Any], object], subject: object) -> float:
    started = time.perf_counter()
    act(subject)
    return round(time.perf_counter() - started, 2)


def speeds(b: Bench) -> None:
    """Do the figures depend on how fast the simulator's clock runs? The first scenario at half and twice the speed."""
    half, double = (b.run(f"narrow at x{b.speed * k:g}", 400, speed=b.speed * k, quota={"rpm": 10}) for k in (0.5, 2))
    apart = abs(half["seconds"] / double["seconds"] - 1)
    b.check("speeds", "seconds at half and twice the speed: apart by", round(apart, 3), 0.03)


def ratio(a: float | None, b: float | None) -> float | None:
    return round(a / b, 3) if a and b else None


Scenario = Callable[[Bench], None]

#: Most of their time these wait for a window, so some run side by side.
PACED: tuple[Scenario, ...] = (
    *(narrow, told, wide, faults, killed, one_project, tokens, day_over, dead_keys, batch, windows, speeds),
    *(source, official),
)
#: These measure the machine itself, and run alone.
ALONE: tuple[Scenario, ...] = (large,)
