"""The checker finds nothing in a good run, and finds one planted bug per invariant."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from chaos.campaign import Campaign
from chaos.checker import ENDS, INVARIANTS, check
from chaos.damage import lost_chunks
from chaos.evidence import Evidence, read_run
from chaos.history import History
from chaos.processes import ProcessExit
from chaos.runner import collect, prepared, sample_chunks, undisturbed_rows
from chaos.scenario import PlannedFault, Scenario
from chaos.world import World

from chaos import menu, stages
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.journal import Journal
from insurance_rag.core.run_folder import RunFolder

SMALL = Scenario(
    seed=1,
    chunks=30,
    keys=2,
    one_project=False,
    known_quota=True,
    rpm=40,
    tpm=None,
    window="rolling",
    chunks_per_call=1,
    process_per_shard=False,
    background_faults={},
    faults=(),
    stages=("generate",),
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Return the evidence of a campaign without faults."""
    folder = tmp_path_factory.mktemp("campaign") / "good"
    chunks = sample_chunks(SMALL)
    with prepared(SMALL, folder, chunks) as (world, folders):
        Campaign(world, folders).run()
        return collect(world, chunks, undisturbed_rows(SMALL, folder / "undisturbed", chunks))


@pytest.fixture
def copied(good: Evidence, tmp_path: Path) -> RunFolder:
    """Return a copy of the good run folder, to plant a bug in."""
    shutil.copytree(good.files.run.root, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def broken(good: Evidence, run: RunFolder, **changes: object) -> set[str]:
    """Return the names of the invariants that are broken in a copy of the run folder."""
    logs = run.root.parent / "logs"
    evidence = dataclasses.replace(good, files=read_run(run), searched=(run.root, logs), **changes)  # type: ignore[arg-type]
    return {violation.invariant for violation in check(evidence)}


def write_part(run: RunFolder, rows: list[dict[str, object]]) -> None:
    """Replace the rows of the first part, and publish it with a manifest that has the right hash and number of rows."""
    path = run.part(1)
    write_json(path, rows)
    manifest = read_json(manifest_path(path)) | {"sha256": sha256_file(path), "rows": len(rows)}
    write_json(manifest_path(path), manifest)


def test_a_good_run_breaks_no_invariant(good: Evidence) -> None:
    assert check(good) == []
    assert len(good.files.rows) > 60
    assert len(good.history.acknowledged) >= 30


def test_a_lost_chunk_is_found(good: Evidence, copied: RunFolder) -> None:
    rows = read_json(copied.part(1))
    write_part(copied, [row for row in rows if row["chunk_id"] != rows[0]["chunk_id"]])
    assert broken(good, copied) >= {"no chunk is lost", "nothing partial is published"}


def test_a_row_that_is_written_twice_is_found(good: Evidence, copied: RunFolder) -> None:
    rows = read_json(copied.part(1))
    write_part(copied, [*rows, rows[0]])
    assert broken(good, copied) == {"no row is written twice"}


def test_a_row_that_was_damaged_is_found(good: Evidence, copied: RunFolder) -> None:
    rows = read_json(copied.part(1))
    rows[0]["output"] = rows[0]["output"].replace("다", "라")
    write_part(copied, rows)
    assert broken(good, copied) >= {"every row is what the server sent"}


def test_a_row_that_differs_from_the_undisturbed_run_is_found(good: Evidence, copied: RunFolder) -> None:
    rows = read_json(copied.part(1))
    rows[0]["evidence"] += "."
    write_part(copied, rows)
    assert broken(good, copied) == {"the dataset equals that of an undisturbed run"}


def test_a_manifest_that_is_published_early_is_found(good: Evidence, copied: RunFolder) -> None:
    copied.part(1).unlink()
    assert "nothing partial is published" in broken(good, copied)


def test_a_key_that_is_printed_is_found(good: Evidence, copied: RunFolder) -> None:
    (copied.root.parent / "logs").mkdir()
    (copied.root.parent / "logs" / "001_generate.err").write_text(f"GET /v1beta?key={good.secrets[0]}\n")
    assert broken(good, copied) == {"no secret is written"}


@pytest.mark.parametrize(
    ("code", "complete", "errors"),
    [
        (0, False, ""),
        (1, False, "IncompleteError: the disk is full"),
        (2, False, "InvalidInputError: plan.json: no shards"),
        (3, False, ""),
        (3, False, "Traceback (most recent call last):\n  ...\nIncompleteError: x"),
        (-signal.SIGSEGV, False, ""),
    ],
)
def test_a_dishonest_exit_code_is_found(
    good: Evidence, copied: RunFolder, code: int, complete: bool, errors: str
) -> None:
    ended = ProcessExit("generate", (), None, code, (), errors, complete, False)
    history = dataclasses.replace(good.history, exits=[*good.history.exits, ended])
    assert broken(good, copied, history=history) == {"exit codes are honest"}


def forget_an_answer(world: World, rng: Random) -> str | None:
    """Kill the process and remove an acknowledged answer from its journal, as a journal that is not durable would."""
    world.look()
    for process in world.processes.alive():
        process.send(signal.SIGKILL)
        process.process.wait()
    path = max(world.run.journal.glob("shard_*.jsonl"), key=lambda path: path.stat().st_size)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    assert len(lost_chunks(b"".join(lines), path.read_bytes())) == 1
    return "an answer was forgotten"


def suspend(world: World, rng: Random) -> str | None:
    """Stop the process and never continue it."""
    for process in world.processes.alive():
        process.send(signal.SIGSTOP)
    return "suspended"


def run_with(planted: menu.Fire, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Run a campaign with a planted bug and yield (invariant, evidence) of each violation."""
    monkeypatch.setitem(menu.BY_NAME, "planted", menu.FaultKind("planted", planted))
    scenario = dataclasses.replace(SMALL, faults=(PlannedFault("planted", "generate", 0.4, 0.0, 1),))
    chunks = sample_chunks(scenario)
    with prepared(scenario, folder, chunks) as (world, folders):
        Campaign(world, folders).run()
        yield from ((violation.invariant, violation.evidence) for violation in check(collect(world, chunks)))


def test_an_answer_that_was_on_disk_and_is_requested_again_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(run_with(forget_an_answer, tmp_path / "planted", monkeypatch))
    assert {name for name, _ in found} == {"no answer is requested again"}
    assert "in the journal at" in found[0][1]


def test_a_command_that_hangs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stages.IDLE_LIMIT_S, "generate", 2.0)
    found = list(run_with(suspend, tmp_path / "planted", monkeypatch))
    assert ENDS in {name for name, _ in found}


def test_every_invariant_has_a_planted_bug() -> None:
    planted = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in INVARIANTS if f'"{name}"' not in planted] == []


def test_a_damaged_record_is_attributed_to_its_chunk(good: Evidence, copied: RunFolder) -> None:
    path = next(copied.journal.glob("shard_*.jsonl"))
    before = path.read_bytes()
    changed = bytearray(before)
    changed[before.index(b"\n") // 2] ^= 1
    path.write_bytes(changed)
    first = next(iter(Journal(good.files.run.journal / path.name).read_new()))
    assert lost_chunks(before, bytes(changed)) == {first["chunk_id"]}
    assert json.dumps(first) and History().damaged == set()
