"""The store of decisions: versions, undo, several writers, damaged files and speed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.review.records import Decision, ReviewAction, question_key, row_key
from insurance_rag.review.store import ReviewConflictError, ReviewStore


def decision(
    key: str = "k1", action: ReviewAction = "approve", reviewer: str = "kim", reason: str = "", **fields: str
) -> Decision:
    return Decision(kind="row", key=key, action=action, reviewer=reviewer, reason=reason, fields=fields)


def test_decisions_survive_a_restart(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path, "row")
    assert store.state("k1").version == 0 and not store.path.exists()
    store.decide(decision(), 0)
    store.decide(decision("k2", "reject", reason="wrong amount"), 0)
    store.decide(decision("k3", "edit", answer="30일입니다."), 0)
    again = ReviewStore(tmp_path, "row").decisions()
    assert {key: (d.action, d.reason, d.fields) for key, d in again.items()} == {
        "k1": ("approve", "", {}),
        "k2": ("reject", "wrong amount", {}),
        "k3": ("edit", "", {"answer": "30일입니다."}),
    }
    assert again["k1"].reviewer == "kim" and again["k1"].time.endswith("Z") and again["k1"].version == 1


def test_second_reviewer_gets_a_conflict_that_shows_the_first_decision(tmp_path: Path) -> None:
    one, other = ReviewStore(tmp_path, "row"), ReviewStore(tmp_path, "row")
    seen = other.state("k1").version
    one.decide(decision(reviewer="kim"), 0)
    with pytest.raises(ReviewConflictError, match="kim recorded 'approve'") as caught:
        other.decide(decision(action="reject", reviewer="lee", reason="wrong"), seen)
    current = caught.value.current
    assert current.decision and current.decision.reviewer == "kim" and current.version == 1
    assert other.decide(decision(action="reject", reviewer="lee", reason="wrong"), current.version).version == 2
    assert [event.reviewer for event in one.state("k1").history] == ["kim", "lee"]


def test_undo_restores_the_decision_before_and_keeps_the_history(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path, "row")
    store.decide(decision(), 0)
    store.decide(decision(action="reject", reason="wrong"), 1)
    restored = store.undo("k1", "lee", 2).decision
    assert restored and restored.action == "approve"
    assert store.undo("k1", "lee", 3).decision is None
    assert [event.action for event in store.state("k1").history] == ["approve", "reject", "undo", "undo"]
    with pytest.raises(InvalidInputError, match="no decision to undo"):
        store.undo("k1", "lee", 4)
    with pytest.raises(ReviewConflictError):
        store.undo("k1", "lee", 1)
    assert store.decisions() == {}


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        (decision(action="reject"), "no reason"),
        (decision(action="edit"), "changes no field"),
        (decision(action="approve", answer="x"), "use 'edit'"),
        (decision(action="edit", chunk="x"), "chunk cannot be edited"),
        (decision(action="edit", answer=" "), "answer is empty"),
        (Decision(kind="question", key="k", action="approve"), "is a question"),
    ],
)
def test_meaningless_decisions_are_rejected(tmp_path: Path, invalid: Decision, message: str) -> None:
    store = ReviewStore(tmp_path, "row")
    with pytest.raises(InvalidInputError, match=message):
        store.decide_all([(decision("k9"), 0), (invalid, 0)])
    assert store.records == 0, "nothing is recorded if any decision is invalid"


def test_torn_and_damaged_lines_lose_only_themselves(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path, "row")
    for n in range(3):
        store.decide(decision(f"k{n}"), 0)
    lines = store.path.read_bytes().splitlines(keepends=True)
    store.path.write_bytes(lines[0] + lines[1].replace(b"approve", b"approxe") + lines[2] + lines[0][:30])
    again = ReviewStore(tmp_path, "row")
    assert set(again.decisions()) == {"k0", "k2"}
    again.decide(decision("k3"), 0)
    assert set(ReviewStore(tmp_path, "row").decisions()) == {"k0", "k2", "k3"}


def _write_until_killed(folder: Path, name: str) -> None:
    store = ReviewStore(folder, "row")
    for n in range(100_000):
        store.decide(decision(f"{name}-{n}", reviewer=name), 0)


def test_writers_that_are_killed_lose_nothing_that_others_wrote(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_until_killed, args=(tmp_path, name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    reader = ReviewStore(tmp_path, "row")
    deadline = time.monotonic() + 20
    while len({key[0] for key in reader.decisions()}) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    for writer in writers:
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join()
    reader.decide(decision("after"), 0)
    keys = set(ReviewStore(tmp_path, "row").decisions())
    for name in ("a", "b"):
        written = sum(key.startswith(f"{name}-") for key in keys)
        assert written > 0 and {f"{name}-{n}" for n in range(written)} <= keys, "no gap"
    assert "after" in keys


def test_ten_thousand_decisions_are_read_quickly(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path, "row")
    store.decide_all([(decision(f"k{n}"), 0) for n in range(10_000)])
    start = time.perf_counter()
    again = ReviewStore(tmp_path, "row")
    assert len(again.decisions()) == 10_000
    first = time.perf_counter() - start
    start = time.perf_counter()
    for n in range(100):
        assert again.state(f"k{n}").version == 1
    assert first < 3 and time.perf_counter() - start < 0.2, "later reads only look for new lines"


def test_keys_depend_on_content_only() -> None:
    key = row_key("얼마인가요?", "3,000만원입니다.", "제7조\n보험금")
    assert key == row_key("얼마인가요? ", "3,000만원입니다.", "제7조 보험금")
    assert key != row_key("얼마인가요?", "2,000만원입니다.", "제7조\n보험금")
    assert key != row_key("얼마인가요?", "3,000만원입니다.", "제8조\n보험금")
    assert question_key("q", ["b", "a"]) == question_key("q", ["a", "b"]) != question_key("q", ["a"])
