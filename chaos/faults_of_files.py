"""Faults of files and disks: damaged journals and logs, a full disk, a read-only folder, an edited plan."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from chaos.damage import flip_bit, lost_chunks, truncate, write_nul
from chaos.world import World
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.files import atomic_write, read_json, write_json

PLAN_BACKUP = "plan_backup.json"
_OPTIONAL = frozenset({"keys_file", "refresh", "config", "project", "rpm", "tpm", "rpd"})
"""Fields of a plan that may be missing, or whose change is not a mistake."""
_BLOCK = bytes(65536)
_Damage = Callable[[Path, Random], str]


def flip_bit_in_journal(world: World, rng: Random) -> str | None:
    """Flip a bit in the journal of a shard."""
    return _damage_journal(world, rng, flip_bit)


def truncate_journal(world: World, rng: Random) -> str | None:
    """Cut off the end of the journal of a shard."""
    return _damage_journal(world, rng, truncate)


def write_nul_to_journal(world: World, rng: Random) -> str | None:
    """Fill the end of the journal of a shard with NUL bytes, as some file systems do after a power failure."""
    return _damage_journal(world, rng, write_nul)


def flip_bit_in_rate_limit_log(world: World, rng: Random) -> str | None:
    """Flip a bit in the event log of the rate limiter."""
    return _damage(world, rng, [world.run.rate_limit_log], flip_bit)


def cut_rate_limit_log(world: World, rng: Random) -> str | None:
    """Cut off the end of the rate limiter's event log, or fill it with NUL bytes."""
    return _damage(world, rng, [world.run.rate_limit_log], rng.choice((truncate, write_nul)))


def damage_claims(world: World, rng: Random) -> str | None:
    """Damage the log of claims: flip a bit, cut off its end, or fill its end with NUL bytes."""
    return _damage(world, rng, [world.run.claims], rng.choice((flip_bit, truncate, write_nul)))


def _damage_journal(world: World, rng: Random, damage: _Damage) -> str | None:
    return _damage(world, rng, sorted(world.run.journal.glob("shard_*.jsonl")), damage)


def _damage(world: World, rng: Random, paths: list[Path], damage: _Damage) -> str | None:
    """Damage one of the files: in two of three cases after a power failure, otherwise while processes use the file."""
    filled = [path for path in paths if path.exists() and path.stat().st_size]
    if not filled:
        return None
    power_failure = rng.random() < 2 / 3
    if power_failure:
        _kill_all(world)
    path = rng.choice(filled)
    before = path.read_bytes()
    done = damage(path, rng)
    lost = lost_chunks(before, path.read_bytes())
    world.history.damaged |= lost
    world.history.damaged_files.add(path)
    return f"{done} {'after a kill' if power_failure else 'while it is in use'}; {len(lost)} records lost"


def _kill_all(world: World) -> None:
    for process in world.processes.alive():
        process.send(signal.SIGKILL)
        process.process.wait()


def fill_disk(world: World, rng: Random) -> str | None:
    """Fill the disk of the run folder for a while, to the last byte or up to a few kilobytes."""
    filler = world.run.root / ".filler"
    with filler.open("wb", buffering=0) as f:
        try:
            while True:
                f.write(_BLOCK)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
        with contextlib.suppress(OSError):
            for _ in range(len(_BLOCK)):
                f.write(b"\0")
        f.truncate(f.tell() - rng.choice((0, 0, 4096, 20_000)))
    seconds = rng.uniform(0.5, 2.0)
    time.sleep(seconds)
    filler.unlink()
    return f"the disk was full for {seconds:.1f} s"


def make_read_only(world: World, rng: Random) -> str | None:
    """Make the run folder and all folders in it read-only for a while."""
    folders = [world.run.root, *(path for path in world.run.root.rglob("*") if path.is_dir())]
    modes = {folder: folder.stat().st_mode & 0o777 for folder in folders}
    seconds = rng.uniform(0.5, 2.0)
    for folder in folders:
        folder.chmod(0o555)
    try:
        time.sleep(seconds)
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    return f"{len(folders)} folders were read-only for {seconds:.1f} s"


def damage_part(world: World, rng: Random) -> str | None:
    """Kill the processes, and flip a bit in a published part or its manifest, or cut off its end."""
    published = [path for path in world.run.parts.glob("dataset_part_*.json") if manifest_path(path).exists()]
    if not published:
        return None
    _kill_all(world)
    part = rng.choice(sorted(published))
    world.damaged_parts.add(part.name)
    return rng.choice((flip_bit, truncate))(rng.choice((part, manifest_path(part))), rng)


def edit_plan(world: World, rng: Random) -> str | None:
    """Kill the processes and make plan.json invalid, as a wrong edit by hand does."""
    if world.edited_plan:
        return None
    _kill_all(world)
    original = world.run.plan.read_bytes()
    (world.folder / PLAN_BACKUP).write_bytes(original)
    plan = read_json(world.run.plan)
    what = rng.choice(("cut off", "a shard is listed twice", "a chunk is missing", "no field", "wrong type"))
    if what == "cut off":
        os.truncate(world.run.plan, len(original) // 2)
    else:
        write_json(world.run.plan, _edited(plan, what, rng))
    world.edited_plan = True
    return f"plan.json: {what}"


def _edited(plan: dict[str, Any], what: str, rng: Random) -> dict[str, Any]:
    """Return the plan with an edit that makes it invalid."""
    shard = rng.choice(plan["shards"])
    if what == "a shard is listed twice":
        plan["shards"].append(shard)
    elif what == "a chunk is missing":
        shard["chunk_ids"].pop()
    else:
        record = rng.choice((plan, shard, plan["partition"]))
        name = rng.choice([name for name in record if name not in _OPTIONAL])
        if what == "no field":
            del record[name]
        else:
            record[name] = [None]
    return plan


def restore_plan(world: World) -> None:
    """Undo the edit of plan.json, as a person does after reading the message."""
    if world.edited_plan:
        with atomic_write(world.run.plan, "wb") as f:
            f.write((world.folder / PLAN_BACKUP).read_bytes())
        world.edited_plan = False
