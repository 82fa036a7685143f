from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insurance_rag.core.errors import IncompleteError
from insurance_rag.planning.generation_journal import GenerationJournal


def key(n: int) -> str:
    return f"{n:064x}"


def write(folder: Path, shard: int, keys: range, state: str = "answered") -> None:
    with GenerationJournal(folder, shard) as ledger:
        for n in keys:
            ledger.append(key(n), state, chunk_id=f"c{n}", pairs=[{"question": "무엇인가요?\n", "n": n}])
        ledger.sync()


def test_what_is_written_is_found_in_every_journal(tmp_path: Path) -> None:
    write(tmp_path, 1, range(3))
    write(tmp_path, 2, range(3, 5))
    ledger = GenerationJournal(tmp_path)
    assert len(ledger) == 5
    assert ledger.record(key(4))["pairs"][0]["n"] == 4
    assert [r["chunk_id"] for r in ledger.records([key(4), key(0)])] == ["c4", "c0"]
    assert key(9) not in ledger


def test_an_answer_wins_over_a_quarantine(tmp_path: Path) -> None:
    write(tmp_path, 1, range(2), "quarantined")
    write(tmp_path, 2, range(1))
    write(tmp_path, 3, range(2), "quarantined")
    ledger = GenerationJournal(tmp_path)
    assert not ledger.is_quarantined(key(0))
    assert ledger.is_quarantined(key(1))


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400))
def test_a_torn_end_loses_only_its_own_line(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("journal")
    write(folder, 1, range(3))
    path = folder / "shard_1.jsonl"
    data = path.read_bytes()
    left = data[: max(0, len(data) - cut)]
    path.write_bytes(left)
    whole = left.count(b"\n")
    write(folder, 1, range(10, 11))
    ledger = GenerationJournal(folder)
    assert len(ledger) == whole + 1
    assert [r["chunk_id"] for r in ledger.records([key(n) for n in range(whole)])] == [f"c{n}" for n in range(whole)]


def test_a_line_that_is_being_written_elsewhere_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, 1, range(2))
    other = tmp_path / "shard_2.jsonl"
    other.write_bytes(b'{"key": "' + key(7).encode() + b'", "state": "answ')
    write(tmp_path, 1, range(2, 3))
    assert len(GenerationJournal(tmp_path)) == 3
    assert other.read_bytes().endswith(b"answ")


def test_a_full_disk_is_named_and_leaves_nothing_torn(tmp_path: Path) -> None:
    write(tmp_path, 1, range(2))
    size = (tmp_path / "shard_1.jsonl").stat().st_size
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
    try:
        with (
            GenerationJournal(tmp_path, 1) as ledger,
            pytest.raises(IncompleteError, match=r"cannot be written.*same command resumes"),
        ):
            ledger.append(key(5), "answered", chunk_id="c5", pairs=[])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert (tmp_path / "shard_1.jsonl").stat().st_size == size


def test_killed_at_any_moment_nothing_that_was_reported_is_lost(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from insurance_rag.planning.generation_journal import GenerationJournal
with GenerationJournal(Path({str(tmp_path)!r}), 1) as ledger:
    for n in range(100000):
        ledger.append(f"{{n:064x}}", "answered", chunk_id=str(n), pairs=["약관" * 200])
        print(n, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        seen = [int(worker.stdout.readline()) for _ in range(50)][-1]
        os.kill(worker.pid, signal.SIGKILL)
    with GenerationJournal(tmp_path, 1) as ledger:
        assert all(key(n) in ledger for n in range(seen + 1))
        assert [r["chunk_id"] for r in ledger.records([key(n) for n in range(seen + 1)])][-1] == str(seen)


def test_a_hundred_thousand_answers_are_reopened_in_under_three_seconds(tmp_path: Path) -> None:
    pairs = [{"type": "fact", "question": "질문" * 30, "answer": "답변입니다. " * 20, "evidence": "근거" * 20}] * 3
    with GenerationJournal(tmp_path, 1) as ledger:
        for n in range(100_000):
            ledger.append(key(n), "answered", chunk_id=f"c{n}", pairs=pairs)
    began = time.process_time()
    with GenerationJournal(tmp_path, 1) as ledger:
        assert len(ledger) == 100_000
    assert time.process_time() - began < 3
