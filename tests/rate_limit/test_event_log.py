from __future__ import annotations

import fcntl
import logging
import multiprocessing
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rate_limit.events import answered, sent, started
from tests.rate_limit.simulated_server import Server, World, separate_projects

from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.journal_lines import encode_record
from insurance_rag.rate_limit.admission import SendRequest, blocking_error, delay_before_send
from insurance_rag.rate_limit.event_log import RateLimitLog, read_rate_limit_state
from insurance_rag.rate_limit.events import Event
from insurance_rag.rate_limit.state import RateLimitState


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "parts" / "rate_limit.jsonl"


@pytest.fixture
def logs(path: Path) -> Iterator[tuple[RateLimitLog, RateLimitLog]]:
    """The logs of two workers."""
    one, two = RateLimitLog(path, RateLimitState()), RateLimitLog(path, RateLimitState())
    yield one, two
    one.close()
    two.close()


def test_two_workers_see_each_other(logs: tuple[RateLimitLog, RateLimitLog]) -> None:
    one, two = logs
    with one.locked():
        one.write(started(1))
        one.write(sent("1-5", 5.0))
    with two.locked() as state:
        assert len(state.pool("p").calls) == 1
        two.write(answered("1-5", 6.0, tokens_in=10, tokens_out=20))
    with one.locked() as state:
        assert state.usage_counts[1]["tokens_out"] == 20


def test_every_event_is_folded_once_by_every_worker(logs: tuple[RateLimitLog, RateLimitLog], path: Path) -> None:
    for n in range(30):
        log = logs[n % 2]
        with log.locked():
            if n == 0:
                log.write(started(1))
            log.write(sent(str(n), float(n)))
    for log in logs:
        with log.locked() as state:
            assert state.usage_counts[1]["calls"] == 30
    assert read_rate_limit_state(path).usage_counts[1]["calls"] == 30


@pytest.mark.parametrize("torn", [b'{"event": "sent", "at": 1', b"\0" * 5000, b"x"])
def test_a_torn_line_is_removed_by_the_next_writer(
    logs: tuple[RateLimitLog, RateLimitLog], path: Path, torn: bytes
) -> None:
    one, two = logs
    with one.locked():
        one.write(started(1))
    with path.open("ab") as f:
        f.write(torn)
    assert len(read_rate_limit_state(path).usage_counts) == 1
    with two.locked():
        two.write(sent("a", 9.0))
    with one.locked() as state:
        one.write(sent("b", 9.5))
        assert state.usage_counts[1]["calls"] == 2
    assert path.read_bytes().count(b"\n") == 3
    assert read_rate_limit_state(path).usage_counts[1]["calls"] == 2


def test_opening_the_log_does_not_touch_a_line_that_another_worker_is_writing(path: Path) -> None:
    writer = RateLimitLog(path, RateLimitState())
    with writer.locked():
        writer.write(started(1))
        half = encode_record(sent("a", 1.0).model_dump())
        with path.open("ab") as f:
            f.write(half[:40])
            f.flush()
            second = RateLimitLog(path, RateLimitState())
            read_rate_limit_state(path)
            f.write(half[40:])
    with second.locked() as state:
        assert state.usage_counts[1]["calls"] == 1
    writer.close()
    second.close()


def write_events(path: Path, shard: int) -> None:
    log = RateLimitLog(path, RateLimitState())
    for n in range(200):
        with log.locked():
            if n == 0:
                log.write(started(shard))
            log.write(sent(f"{shard}-{n}", float(n), shard=shard))
    log.close()


def test_several_processes_write_at_the_same_time(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_events, args=(path, shard)) for shard in (1, 2, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [counts["calls"] for counts in read_rate_limit_state(path).usage_counts.values()] == [200, 200, 200]


def test_without_a_log_the_state_is_empty(path: Path) -> None:
    assert read_rate_limit_state(path).usage_counts == {}
    assert not path.exists()


def test_an_unknown_event_is_skipped(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    known, unknown = started(1).model_dump(), {"event": "upgraded", "at": 1.0}
    path.write_bytes(encode_record(unknown) + encode_record(known) + encode_record({"a": 1}))
    with caplog.at_level(logging.WARNING):
        assert list(read_rate_limit_state(path).usage_counts) == [1]
    assert caplog.text.count("skipped the unknown event") == 2


def test_a_full_disk_is_a_clear_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = RateLimitLog(path, RateLimitState())
    with log.locked():
        log.write(started(1))
    monkeypatch.setattr(log._journal, "_file", FullFile(log._journal._writable().fileno()))
    with pytest.raises(IncompleteError, match=r"rate_limit.jsonl: cannot be written \(No space left"), log.locked():
        log.write(sent("a", 1.0))
    assert read_rate_limit_state(path).usage_counts[1]["calls"] == 0


class FullFile:
    """A file on a full disk: a write stores only its first bytes."""

    def __init__(self, descriptor: int) -> None:
        self._file = open(descriptor, "a+b", buffering=0, closefd=False)  # noqa: SIM115

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, offset: int, whence: int) -> int:
        return self._file.seek(offset, whence)

    def truncate(self, size: int) -> int:
        return self._file.truncate(size)

    def write(self, data: bytes) -> int | None:
        return self._file.write(data[:5])


# ---- damaged logs


class Recorder(RateLimitState):
    """A state that keeps the events it folds."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []

    def apply(self, event: Event) -> None:
        self.events.append(event)
        super().apply(event)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    """The events of a whole run with refusals, probing and pools that turn out to share a project."""
    shards = separate_projects(4, 120)
    shards["project"] = dict.fromkeys(shards["work"], "p")
    recorder = Recorder()
    World(Server(rpm=30), **shards, jitter_s=0.05).run(recorder)
    return recorder.events


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bits_never_stop_a_run(events: list[Event], tmp_path: Path, seed: int) -> None:
    """Whatever bits are flipped, the state can be read, a worker can continue, and all other events count."""
    rng = random.Random(seed)
    path = tmp_path / "rate_limit.jsonl"
    data = bytearray(b"".join(encode_record(event.model_dump()) for event in events))
    flips = rng.choice([1, 1, 1, 5, 50])
    for _ in range(flips):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)

    recorder = Recorder()
    log = RateLimitLog(path, recorder)
    with log.locked() as state:
        missing = len(events) - len(recorder.events)
        assert missing <= 2 * flips
        assert [event for event in events if event in recorder.events] == recorder.events
        log.write(started(1, at=events[-1].at + 1))
        request = SendRequest(1, "k1", "p", 1.0, 500)
        assert blocking_error(state, request, events[-1].at + 2) is None
        assert 0 <= delay_before_send(state, request, events[-1].at + 2) <= 70
    log.close()
    read_rate_limit_state(path)


def test_a_damaged_call_uses_its_place_in_the_window_and_its_tokens_are_paid(path: Path) -> None:
    """The limiter stays on the safe side: the window is not exceeded, and a budget includes the answer."""
    path.parent.mkdir()
    events: list[Event] = [started(1, rpm=3), sent("1-9-1", 1.0), sent("1-9-2", 2.0), sent("1-9-3", 3.0)]
    events += [answered("1-9-1", 3.5, 0, 0), answered("1-9-3", 3.6, 0, 0)]
    lines = [encode_record(event.model_dump()) for event in events]
    lines[2] = lines[2].replace(b"2.0", b"9.0")
    path.write_bytes(b"".join(lines))
    for _ in range(2):  # for the second worker, the line has been moved
        log = RateLimitLog(path, RateLimitState())
        with log.locked() as state:
            request = SendRequest(1, "k1", "p", 1.0, 500)
            assert delay_before_send(state, request, 4.0) > 50
        log.close()
    assert path.with_name("rate_limit.jsonl.damaged").read_bytes() == lines[2]
    log = RateLimitLog(path, RateLimitState())
    with log.locked() as state:
        log.write(answered("1-9-2", 5.0, tokens_in=300, tokens_out=70))
        assert (state.usage_counts[1]["tokens_in"], state.usage_counts[1]["tokens_out"]) == (300, 70)
    log.close()


@pytest.mark.parametrize("seed", range(40))
def test_any_events_may_be_missing(events: list[Event], seed: int) -> None:
    rng = random.Random(seed)
    state = RateLimitState()
    kept = [event for event in events if rng.random() > rng.choice([0.02, 0.5, 0.95])]
    for event in kept:
        state.apply(event)
    assert state.key_of_shard.keys() == state.usage_counts.keys()


def test_the_lock_is_released_after_an_error(path: Path) -> None:
    log = RateLimitLog(path, RateLimitState())
    with pytest.raises(ZeroDivisionError), log.locked():
        raise ZeroDivisionError
    with path.open("a") as f:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    log.close()
