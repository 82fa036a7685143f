"""Claims of workers on chunks: which worker may send a request, also after kills and in damaged files."""

from __future__ import annotations

import logging
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from insurance_rag.core.locks import hold_lock
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning import claims as module
from insurance_rag.planning.claims import ClaimLog, open_shards

KEYS = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def check_locks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECHECK_S", 0.0)


@pytest.fixture
def locks() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start_worker(run: RunFolder, shard: int, stack: ExitStack) -> ClaimLog:
    """Return the claims of a worker that holds the lock of its shard until `stack` is closed."""
    stack.enter_context(hold_lock(run.lock(shard), f"shard {shard}"))
    return stack.enter_context(closing(ClaimLog(run, shard, 60.0)))


def claim(log: ClaimLog, *keys: str) -> list[str]:
    """Claim those of `keys` that are free, and return them."""
    with log.locked():
        free = [key for key in keys if log.is_free(key)]
        log.add(free)
    return free


def test_a_key_belongs_to_the_first_worker_that_claims_it(run: RunFolder, locks: ExitStack) -> None:
    one, two = start_worker(run, 1, locks), start_worker(run, 2, locks)
    assert claim(one, "a", "b") == ["a", "b"]
    assert claim(two, "b", "c") == ["c"]
    assert claim(one, *KEYS) == []
    assert set(one.started_shards) == {1, 2} == set(two.started_shards)


def test_a_released_key_is_free_again(run: RunFolder, locks: ExitStack) -> None:
    one, two = start_worker(run, 1, locks), start_worker(run, 2, locks)
    claim(one, *KEYS)
    one.release(["b"])
    assert claim(two, *KEYS) == ["b"]
    assert claim(one, *KEYS) == []


def test_the_claims_of_a_worker_that_ended_are_free(run: RunFolder, locks: ExitStack) -> None:
    two = start_worker(run, 2, locks)
    with ExitStack() as first:
        claim(start_worker(run, 1, first), *KEYS)
        assert claim(two, "a") == []
    assert claim(two, "a") == ["a"]
    again = start_worker(run, 1, locks)
    assert claim(again, *KEYS) == ["b", "c"]  # its own earlier claims have ended, the one of worker 2 has not


def test_a_living_worker_keeps_its_claims_when_another_shard_starts(run: RunFolder, locks: ExitStack) -> None:
    claim(start_worker(run, 1, locks), *KEYS)
    assert claim(start_worker(run, 2, locks), *KEYS) == []


def test_a_killed_worker_holds_no_claim(run: RunFolder, locks: ExitStack) -> None:
    code = f"""
import time
from contextlib import ExitStack
from pathlib import Path
from insurance_rag.core.run_folder import RunFolder
from tests.planning.test_claims import claim, start_worker
stack = ExitStack()
claim(start_worker(RunFolder(Path({str(run.root)!r})), 1, stack), "a", "b")
print("claimed", flush=True)
time.sleep(60)
"""
    root, two = Path(__file__).parents[2], start_worker(run, 2, locks)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root) as worker:
        assert worker.stdout and worker.stdout.readline() == b"claimed\n"
        assert claim(two, *KEYS) == ["c"]
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert claim(two, *KEYS) == ["a", "b"]


def test_open_shards_count_as_started_but_claim_nothing(run: RunFolder, locks: ExitStack) -> None:
    one = start_worker(run, 1, locks)
    open_shards(run, [3])
    assert claim(one, *KEYS) == KEYS
    assert set(one.started_shards) == {1, 3}


def test_a_torn_line_and_an_unknown_event_are_skipped(
    run: RunFolder, locks: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    one = start_worker(run, 1, locks)
    claim(one, "a")
    with run.claims.open("ab") as f:
        f.write(b'{"event": "claimed", "sh')
    two = start_worker(run, 2, locks)
    with caplog.at_level(logging.WARNING):
        assert claim(two, *KEYS) == ["b", "c"]
        one._journal.append({"event": "upgraded"})
        assert claim(two, "a") == []
    assert "skipped the unknown event" in caplog.text
    assert claim(one, *KEYS) == []


@pytest.mark.parametrize("seed", range(10))
def test_flipped_bits_free_only_the_keys_of_damaged_claims(run: RunFolder, locks: ExitStack, seed: int) -> None:
    """A damaged claim at worst costs a repeated request; all other claims count, and work continues."""
    rng, keys = random.Random(seed), [f"key-{n}" for n in range(40)]
    one = start_worker(run, 1, locks)
    for key in keys:
        claim(one, key)
    data = bytearray(run.claims.read_bytes())
    start = data.index(b"\n") + 1  # the first line says that the worker has started
    for _ in range(3):
        data[rng.randrange(start, len(data))] ^= 1 << rng.randrange(8)
    run.claims.write_bytes(data)
    free = claim(start_worker(run, 2, locks), *keys)
    assert len(free) <= 2 * 3


def test_the_claim_of_a_suspended_worker_lapses(
    run: RunFolder, locks: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process keeps its lock, so only the age of its claims shows that it does nothing."""
    one, two = start_worker(run, 1, locks), start_worker(run, 2, locks)
    claim(one, "a")
    assert claim(two, "a") == []
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert claim(one, "a") == [], "a worker does not take its own chunks twice"
    assert claim(two, "a") == ["a"]


def test_a_system_clock_that_is_set_forward_ends_no_claim(
    run: RunFolder, locks: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = start_worker(run, 1, locks), start_worker(run, 2, locks)
    claim(one, "a")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    assert claim(two, *KEYS) == ["b", "c"]
    assert claim(start_worker(run, 3, locks), *KEYS) == []
