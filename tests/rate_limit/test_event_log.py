from __future__ import annotations

import multiprocessing
from pathlib import Path

from insurance_rag.rate_limit.event_log import RateLimitLog, read_rate_limit_state
from insurance_rag.rate_limit.state import RateLimitState

OPEN = {
    "e": "open",
    "t": 0.0,
    "key": "k",
    "pool": "p",
    "own": False,
    "share": 0.5,
    "rpm": None,
    "tpm": None,
    "rpd": None,
}


def sent(shard: int, n: int) -> dict:
    who = {"shard": shard, "key": "k", "pool": "p"}
    return {"e": "sent", "t": float(n), "id": f"{shard}-{n}", **who, "chars": 1, "again": False}


def test_two_workers_see_each_other(tmp_path: Path) -> None:
    one, two = (RateLimitLog(tmp_path / "rate_limit.jsonl", RateLimitState()) for _ in range(2))
    with one.locked():
        one.write({**OPEN, "shard": 1})
        one.write(sent(1, 5))
    with two.locked() as pace:
        assert len(pace.pool("p").calls) == 1
        two.write({"e": "ok", "t": 6.0, "id": "1-5", "in": 10, "out": 20})
    with one.locked() as pace:
        assert pace.books[1]["tokens_out"] == 20
    one.close()
    two.close()


def test_a_torn_line_is_cut_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "rate_limit.jsonl"
    one, two = (RateLimitLog(path, RateLimitState()) for _ in range(2))
    with one.locked():
        one.write({**OPEN, "shard": 1})
    with path.open("ab") as f:
        f.write(b'{"e":"sent","t":1')
    assert len(read_rate_limit_state(path).books) == 1
    with two.locked():
        two.write(sent(1, 9))
    assert path.read_bytes().count(b"\n") == 2
    assert read_rate_limit_state(path).books[1]["calls"] == 1
    one.close()
    two.close()


def work(path: Path, shard: int) -> None:
    log = RateLimitLog(path, RateLimitState())
    for n in range(200):
        with log.locked():
            if n == 0:
                log.write({**OPEN, "shard": shard})
            log.write(sent(shard, n))
    log.close()


def test_processes_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    path = tmp_path / "rate_limit.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(path, shard)) for shard in (1, 2, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [counts["calls"] for counts in read_rate_limit_state(path).books.values()] == [200, 200, 200]


def test_no_log_is_a_fresh_pace(tmp_path: Path) -> None:
    assert read_rate_limit_state(tmp_path / "none").books == {}
