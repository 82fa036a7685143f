"""Prepare, run and judge one campaign."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from chaos.campaign import Campaign, undisturbed_dataset
from chaos.checker import check
from chaos.clock import FakeClock, faketime_library
from chaos.evidence import Evidence, RowKey, damaged_chunks, hash_chunks, read_rows, read_run, rows_by_chunk
from chaos.history import History, JournalWatch
from chaos.menu import mount, unmount
from chaos.outcome import Outcome
from chaos.processes import Command, ProcessGroup
from chaos.scenario import Scenario
from chaos.server import CampaignServer
from chaos.stages import PipelineFolders
from chaos.world import SPEED, World
from gemini_simulator.config import QuotaConfig, SimulatorConfig
from gemini_simulator.server import running_simulator
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.records import ApiKey, Chunk
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_run
from insurance_rag.planning import make_plan, write_plan
from insurance_rag.validation.pair_check import run_pair_check

LATENCY_S = 3.0
"""Latency of the simulator in seconds on its clock."""
JOURNAL_SLACK_S = 5.0
"""Real seconds between the delivery of an answer and its record in the journal, at most, on a busy machine."""
DISK_MB = 64
"""Size of the run folder's file system in scenarios with a full disk."""
SECRET = "chaos-secret-{seed}-{number}-Zq7"  # noqa: S105 - not a real key


def run_scenario(scenario: Scenario, folder: Path, base_model: Path | None = None) -> Outcome:
    """Run one campaign in `folder` and judge it. The folder must not exist."""
    started = time.monotonic()
    chunks = sample_chunks(scenario)
    with prepared(scenario, folder, chunks) as (world, folders):
        folders = replace(folders, base_model=base_model)
        Campaign(world, folders).run()
        evidence = collect(world, chunks, undisturbed_rows(scenario, folder / "undisturbed", chunks))
        violations = check(evidence)
        if violations:
            _keep(world)
    codes = Counter(ended.code for ended in world.history.exits)
    return Outcome(
        seed=scenario.seed,
        scenario=scenario.describe(),
        violations=tuple(violations),
        faults=tuple(world.history.faults),
        exit_codes=dict(sorted(codes.items())),
        tries=world.history.tries,
        repeated=_repeated(evidence),
        damaged=len(evidence.damaged),
        chunks=len(chunks),
        seconds=round(time.monotonic() - started, 1),
    )


def sample_chunks(scenario: Scenario) -> list[Chunk]:
    """Return the scenario's chunks: consecutive chunks of the sample policies, from a place that the seed decides.

    Every chunk has a different text, so that the server's record, which has only the text, identifies the chunk.
    """
    sample = list({chunk.text: chunk for chunk in reversed(read_chunks("sample"))}.values())[::-1]
    start = scenario.seed * 37 % len(sample)
    return [*sample[start:], *sample[:start]][: scenario.chunks]


def collect(
    world: World, chunks: Sequence[Chunk], reference: Mapping[str, frozenset[RowKey]] | None = None
) -> Evidence:
    """Collect what the checker needs. `reference` has the rows of an undisturbed run."""
    world.look()
    expected = undisturbed_dataset(world.folder)
    return Evidence(
        files=read_run(world.run),
        searched=(world.run.root, world.folder / "logs"),
        secrets=world.secrets,
        chunk_ids=hash_chunks(chunks),
        damaged=damaged_chunks(world.history),
        requests=world.server.requests(),
        ground_truth=world.server.ground_truth(),
        history=world.history,
        timeout_s=world.scenario.timeout_s * SPEED,
        slack_s=JOURNAL_SLACK_S * SPEED,
        reference=reference,
        same_files=[(world.run.dataset, expected)] if expected.exists() else [],
    )


def undisturbed_rows(scenario: Scenario, folder: Path, chunks: Sequence[Chunk]) -> dict[str, frozenset[RowKey]]:
    """Generate the same rows without faults and quotas, in this process, and return them by chunk id."""
    settings = _simulator_settings(scenario)
    with running_simulator(**{**settings, "speed": 1000.0, "quota": QuotaConfig(), "faults": {}}) as simulator:
        config = _generation_config(scenario, simulator.url, simulator.window_s)
        run, keys = RunFolder(folder), _keys(scenario)
        write_plan(make_plan(chunks, keys, config), run, chunks)
        generate_run(run, keys, config, run_pair_check(run))
    rows = rows_by_chunk(read_rows(run))
    shutil.rmtree(folder)
    return rows


@contextlib.contextmanager
def prepared(scenario: Scenario, folder: Path, chunks: Sequence[Chunk]) -> Iterator[tuple[World, PipelineFolders]]:
    """Start the server and plan the run. Afterwards, end all processes and unmount the run folder."""
    kinds = {fault.kind for fault in scenario.faults}
    run, keys_file = RunFolder(folder / "run"), folder / "secrets" / "keys.json"
    run.root.mkdir(parents=True)
    if "disk full" in kinds:
        mount(run.root, DISK_MB)
    library = faketime_library() if any(kind.startswith("clock") for kind in kinds) else None
    clock = FakeClock(library, folder / "clock_offset") if library else None
    environment = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    server = CampaignServer(SimulatorConfig.parse(_simulator_settings(scenario), "chaos"))
    processes = ProcessGroup(
        folder / "logs", {**environment, **(clock.environment if clock else {})}, "read-only folder" in kinds
    )
    history = History()
    world = World(
        scenario=scenario,
        folder=folder,
        run=run,
        server=server,
        processes=processes,
        history=history,
        watch=JournalWatch(run, history),
        clock=clock,
        secrets=tuple(key.key.get_secret_value() for key in _keys(scenario)),
    )
    try:
        write_json(
            keys_file, [key.model_dump(mode="json") | {"key": key.key.get_secret_value()} for key in _keys(scenario)]
        )
        write_jsonl(folder / "chunks.jsonl", [chunk.model_dump(mode="json") for chunk in chunks])
        _plan(world, keys_file)
        yield world, PipelineFolders(run, keys_file, folder / "registry")
    finally:
        processes.kill_all()
        server.close()
        if "disk full" in kinds:
            unmount(run.root)


def _plan(world: World, keys_file: Path) -> None:
    config = _generation_config(world.scenario, world.server.url, world.server.window_s)
    fields = config.model_dump(exclude_defaults=True, mode="json")
    settings = [part for name, value in fields.items() for part in ("--set", f"{name}={value}")]
    files = ("--chunks", str(world.folder / "chunks.jsonl"), "--keys", str(keys_file), "--out", str(world.run.root))
    world.processes.start([Command("plan", (*files, *settings))])
    process = world.processes.running[0]
    if process.process.wait() != 0:
        raise RuntimeError(f"`plan` failed: {process.errors.read_text()}")
    world.processes.take_ended()


def _generation_config(scenario: Scenario, url: str, window_s: float) -> GenerationConfig:
    return GenerationConfig(
        base_url=url, quota_window_s=window_s, timeout_s=scenario.timeout_s, chunks_per_call=scenario.chunks_per_call
    )


def _simulator_settings(scenario: Scenario) -> dict[str, object]:
    """Return settings with which the same chunk always gets the same answer, whatever else the request asks about."""
    keys = [key.key.get_secret_value() for key in _keys(scenario)]
    return {
        "seed": scenario.seed,
        "speed": SPEED,
        "latency_s": LATENCY_S,
        "latency_spread": 0.5,
        "quota": QuotaConfig(rpm=scenario.rpm, tpm=scenario.tpm),
        "window": scenario.window,
        "projects": dict.fromkeys(keys, "all") if scenario.one_project else {},
        "faults": scenario.background_faults,
        "pack_degradation": 0.0,
    }


def _keys(scenario: Scenario) -> list[ApiKey]:
    quota = {"rpm": scenario.rpm, "tpm": scenario.tpm} if scenario.known_quota else {}
    project = {"project": "all"} if scenario.one_project else {}
    return [
        ApiKey.model_validate({"id": f"k{n}", "key": SECRET.format(seed=scenario.seed, number=n), **project, **quota})
        for n in range(1, scenario.keys + 1)
    ]


def _repeated(evidence: Evidence) -> int:
    answered = Counter(
        asked
        for request in evidence.requests
        for asked, outcome in zip(request.chunks, request.chunk_outcomes, strict=True)
        if outcome == "answered"
    )
    return sum(n - 1 for n in answered.values())


def _keep(world: World) -> None:
    """Keep what a person needs to understand a failure: a copy of an unmounted run folder, and the server's record."""
    if any(fault.kind == "disk full" for fault in world.scenario.faults):
        with contextlib.suppress(OSError, shutil.Error):
            shutil.copytree(world.run.root, world.folder / "run_copy")
    with (world.folder / "requests.txt").open("w", encoding="utf-8") as f:
        for request in world.server.requests():
            chunks = " ".join(
                f"{asked.sha256[:8]}={outcome}"
                for asked, outcome in zip(request.chunks, request.chunk_outcomes, strict=True)
            )
            f.write(f"{request.received_s:.2f} {request.finished_s or 0:.2f} {request.outcome} {chunks}\n")
