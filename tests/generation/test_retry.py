"""How a chunk is asked for after failures: in smaller calls, then in other ways, and not without end."""

from __future__ import annotations

import pytest

from insurance_rag.core.errors import BlockedAnswerError, InvalidAnswerError, InvalidRequestError, PipelineError
from insurance_rag.generation.retry import VARIANTS, Attempts
from insurance_rag.generation.teachers.base import Variant

BLOCKED, UNREADABLE = BlockedAnswerError("RECITATION"), InvalidAnswerError("no JSON")


def sizes(n_chunks: int) -> list[int]:
    """Return the sizes of the calls for a chunk that makes every call about several chunks fail."""
    attempts, found = Attempts(), [n_chunks]
    while found[-1] > 1:
        attempts = attempts.after_unusable_answer(found[-1])
        found.append(attempts.max_chunks or 0)
    return found


def calls_alone(error: PipelineError, max_retries: int, *, is_repair: bool = False) -> int:
    """Return how often a chunk is asked for alone if every answer is unusable."""
    attempts, n = Attempts().after_unusable_answer(1), 1
    while attempts.may_ask_again(error, max_retries, is_repair=is_repair):
        attempts, n = attempts.after_unusable_answer(1), n + 1
    return n


@pytest.mark.parametrize(("n", "found"), [(16, [16, 4, 1]), (7, [7, 1]), (4, [4, 1]), (2, [2, 1]), (1, [1])])
def test_a_failed_pack_is_divided_until_the_cause_is_alone(n: int, found: list[int]) -> None:
    assert sizes(n) == found


def test_a_failed_pack_does_not_change_how_its_chunks_are_asked() -> None:
    attempts = Attempts().after_unusable_answer(8)
    assert attempts.variant == Variant()
    assert attempts.unusable == 0


def test_a_chunk_alone_is_asked_in_another_way_each_time() -> None:
    attempts, variants = Attempts(), []
    for _ in range(6):
        variants.append(attempts.variant)
        attempts = attempts.after_unusable_answer(1)
    assert variants == [*VARIANTS, VARIANTS[-1], VARIANTS[-1]]
    assert variants[0] == Variant()
    assert len(set(VARIANTS)) == len(VARIANTS) == 4
    assert attempts.max_chunks == 1, "a chunk that failed alone never joins a pack again"


@pytest.mark.parametrize(
    ("error", "max_retries", "n"),
    [(BLOCKED, 5, 4), (BLOCKED, 1, 2), (BLOCKED, 0, 1), (UNREADABLE, 5, 6), (UNREADABLE, 0, 1),
     (InvalidRequestError("400"), 5, 1)],
)  # fmt: skip
def test_unusable_answers_end_after_a_few_requests_alone(error: PipelineError, max_retries: int, n: int) -> None:
    assert calls_alone(error, max_retries) == n


def test_a_repair_is_given_up_sooner_because_the_first_answer_is_kept() -> None:
    assert calls_alone(UNREADABLE, 5, is_repair=True) == calls_alone(BLOCKED, 5, is_repair=True) == 2


def test_server_failures_do_not_count_as_unusable_answers() -> None:
    assert Attempts(server_failures=17).may_retry_server(5)
    assert not Attempts(server_failures=18).may_retry_server(5)
    assert Attempts(server_failures=17).variant == Variant()


def test_a_call_is_not_repeated_with_more_chunks_after_server_failures() -> None:
    once = Attempts().after_server_failure(5, now=0.0, wait_s=1.0, counts=False)
    assert (once.max_chunks, once.not_before, once.server_failures) == (5, 1.0, 0)
    assert once.after_server_failure(5, now=1.0, wait_s=2.0, counts=True).max_chunks == 2
