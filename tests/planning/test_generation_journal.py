from __future__ import annotations

import logging
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planning.records import answer, cache_key, quarantined, repairable, repaired

from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.journal_lines import encode_record
from insurance_rag.planning.generation_journal import ChunkRecord, GenerationJournal, state_of

MakeRecord = Callable[[str], ChunkRecord]


def write(folder: Path, shard: int, numbers: range, make: MakeRecord = answer) -> None:
    with GenerationJournal(folder, shard) as journal:
        for n in numbers:
            journal.append(cache_key(n), make(f"c{n}"))
        journal.sync()


def chunk_ids(journal: GenerationJournal, *numbers: int) -> list[str]:
    return [record.chunk_id for record in journal.answers(map(cache_key, numbers))]


def test_records_are_found_in_all_files(tmp_path: Path) -> None:
    write(tmp_path, 1, range(3))
    write(tmp_path, 2, range(3, 5))
    journal = GenerationJournal(tmp_path)
    assert len(journal) == 5
    assert journal.answer(cache_key(4)) == answer("c4")
    assert chunk_ids(journal, 4, 0) == ["c4", "c0"]
    assert cache_key(9) not in journal
    assert journal.state(cache_key(9)) is None


@pytest.mark.parametrize(
    ("make", "state"),
    [(answer, "answered"), (repairable, "repairable"), (repaired, "answered"), (quarantined, "quarantined")],
)
def test_a_record_is_read_as_it_was_written(tmp_path: Path, make: MakeRecord, state: str) -> None:
    write(tmp_path, 1, range(1), make)
    journal = GenerationJournal(tmp_path)
    assert state_of(make("c0")) == journal.state(cache_key(0)) == state
    assert journal.record(cache_key(0)) == make("c0")
    assert journal.is_quarantined(cache_key(0)) == (state == "quarantined")
    assert journal.is_repairable(cache_key(0)) == (state == "repairable")


def test_the_best_state_counts_whatever_the_order(tmp_path: Path) -> None:
    write(tmp_path, 1, range(2), quarantined)
    write(tmp_path, 2, range(1))
    write(tmp_path, 3, range(2), quarantined)
    write(tmp_path, 4, range(2), repairable)
    journal = GenerationJournal(tmp_path)
    assert [journal.state(cache_key(n)) for n in range(2)] == ["answered", "repairable"]
    write(tmp_path, 5, range(2), repaired)
    assert GenerationJournal(tmp_path).answer(cache_key(1)).repair is not None


def test_a_quarantined_key_has_no_answer(tmp_path: Path) -> None:
    write(tmp_path, 1, range(1), quarantined)
    with pytest.raises(KeyError):
        GenerationJournal(tmp_path).answer(cache_key(0))


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 900))
def test_a_torn_end_loses_only_its_own_line(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("journal")
    write(folder, 1, range(3))
    path = folder / "shard_1.jsonl"
    data = path.read_bytes()
    left = data[: max(0, len(data) - cut)]
    path.write_bytes(left)
    whole = left.count(b"\n")
    write(folder, 1, range(10, 11))
    journal = GenerationJournal(folder)
    assert len(journal) == whole + 1
    assert chunk_ids(journal, *range(whole)) == [f"c{n}" for n in range(whole)]


def test_a_line_that_another_process_is_writing_is_not_touched(tmp_path: Path) -> None:
    write(tmp_path, 1, range(2))
    other = tmp_path / "shard_2.jsonl"
    other.write_bytes(b'{"cache_key": "' + cache_key(7).encode() + b'", "state": "answ')
    write(tmp_path, 1, range(2, 3))
    assert len(GenerationJournal(tmp_path)) == 3
    assert other.read_bytes().endswith(b"answ")


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_torn(tmp_path: Path) -> None:
    write(tmp_path, 1, range(2))
    size = (tmp_path / "shard_1.jsonl").stat().st_size
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
    try:
        with (
            GenerationJournal(tmp_path, 1) as journal,
            pytest.raises(IncompleteError, match=r"cannot be written.*run the same command again"),
        ):
            journal.append(cache_key(5), answer("c5"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert (tmp_path / "shard_1.jsonl").stat().st_size == size


def test_a_kill_loses_no_record_that_was_written(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from insurance_rag.planning.generation_journal import GenerationJournal
from tests.planning.records import answer, cache_key
with GenerationJournal(Path({str(tmp_path)!r}), 1) as journal:
    for n in range(100000):
        journal.append(cache_key(n), answer(str(n), pairs=9))
        print(n, flush=True)
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as worker:
        assert worker.stdout
        seen = [int(worker.stdout.readline()) for _ in range(50)][-1]
        os.kill(worker.pid, signal.SIGKILL)
    with GenerationJournal(tmp_path, 1) as journal:
        assert all(cache_key(n) in journal for n in range(seen + 1))
        assert chunk_ids(journal, *range(seen + 1))[-1] == str(seen)


@pytest.fixture(scope="module")
def whole_journal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal with 60 chunks in all states."""
    folder = tmp_path_factory.mktemp("whole")
    with GenerationJournal(folder, 1) as journal:
        for n in range(60):
            make: MakeRecord = (answer, repairable, quarantined)[n % 3]
            journal.append(cache_key(n), make(f"c{n}"))
            if n % 6 == 1:
                journal.append(cache_key(n), repaired(f"c{n}"))
    return (folder / "shard_1.jsonl").read_bytes()


@pytest.mark.parametrize("seed", range(100))
def test_flipped_bits_make_chunks_missing_and_nothing_else(
    tmp_path: Path, seed: int, whole_journal: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever bits are flipped, the journal opens, its other records are unchanged, and a worker can continue."""
    rng = random.Random(seed)
    flips = rng.choice([1, 1, 1, 5, 40])
    data = bytearray(whole_journal)
    for _ in range(flips):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    (tmp_path / "shard_1.jsonl").write_bytes(data)
    (tmp_path / "original").mkdir()
    (tmp_path / "original/shard_1.jsonl").write_bytes(whole_journal)
    original = GenerationJournal(tmp_path / "original")

    with caplog.at_level(logging.WARNING), GenerationJournal(tmp_path, 1) as journal:
        kept = [cache_key(n) for n in range(60) if cache_key(n) in journal]
        assert len(kept) == len(journal) >= 60 - 2 * flips
        for key in kept:
            # A lost repair record makes its chunk repairable again; every other record is as it was.
            assert journal.record(key) == original.record(key) or journal.state(key) == "repairable"
        missing = [n for n in range(60) if cache_key(n) not in journal]
        for n in missing:
            journal.append(cache_key(n), answer(f"c{n}"))
    assert not missing or "is damaged and was skipped" in caplog.text or len(missing) == 1  # 1: a torn last line
    with GenerationJournal(tmp_path, 1) as journal:
        assert len(journal) == 60


def test_a_record_that_is_damaged_while_the_journal_is_open(tmp_path: Path) -> None:
    write(tmp_path, 1, range(2))
    journal = GenerationJournal(tmp_path)
    path = tmp_path / "shard_1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"chunk_id": "c1"', b'"chunk_id": "c7"'))
    assert chunk_ids(journal, 0) == ["c0"]
    with pytest.raises(IncompleteError, match=r"was damaged while the journal was open; run the same command again"):
        journal.record(cache_key(1))
    assert cache_key(1) not in GenerationJournal(tmp_path)


def test_a_record_of_another_version_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "shard_1.jsonl"
    path.write_bytes(encode_record({"cache_key": cache_key(0), "state": "answered", "pairs": "none"}))
    with pytest.raises(InvalidInputError, match="another version wrote it: generate into a new run folder"):
        GenerationJournal(tmp_path).record(cache_key(0))


@pytest.mark.slow
def test_a_hundred_thousand_answers_are_opened_in_under_a_second(tmp_path: Path) -> None:
    record = answer("c", pairs=3)
    pair = record.pairs[0].model_copy(update={"answer": "답변입니다. " * 20, "evidence": "근거" * 20})
    record = record.model_copy(update={"pairs": [pair] * 3})
    with GenerationJournal(tmp_path, 1) as journal:
        for n in range(100_000):
            journal.append(cache_key(n), record)
    seconds = []
    for _ in range(2):
        started = time.process_time()
        assert len(GenerationJournal(tmp_path)) == 100_000
        seconds.append(time.process_time() - started)
    assert min(seconds) < 1
