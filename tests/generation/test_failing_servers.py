"""Servers that reject everything: the shard ends with an error that says what to do, and quarantines nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.generation.fixed_server import completion, server
from tests.generation.runs import finished_keys, keys, planned, rows

from insurance_rag.core.errors import IncompleteError, InvalidInputError, KeyRejectedError
from insurance_rag.generation import generate_shard
from insurance_rag.rate_limit.event_log import read_rate_limit_state

PAIR = {"type": "fact", "question": "얼마인가요?", "answer": "3만원입니다.", "evidence": ""}
ANSWER = completion(json.dumps([PAIR]))
FAULT = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Unknown name responseSchema"}}


@pytest.mark.parametrize("chunks_per_call", [1, 4, "auto"])
def test_rejection_of_every_request_quarantines_no_chunk(tmp_path: Path, chunks_per_call: int | str) -> None:
    with server((400, FAULT)) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1), chunks_per_call=chunks_per_call)
        with pytest.raises(
            InvalidInputError,
            match=r"last 5 requests in a row .*responseSchema.*check the teacher's settings",
        ):
            generate_shard(run, 1, keys(1)[0], config)
    assert finished_keys(run) == []
    assert read_rate_limit_state(run.rate_limit_log).usage_counts[1]["calls"] <= 12


def test_rejection_of_single_requests_quarantines_their_chunks(tmp_path: Path) -> None:
    with server((400, FAULT), (400, FAULT), (200, ANSWER)) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1), chunks_per_call=1)
        part = generate_shard(run, 1, keys(1)[0], config)
    assert part.quarantined == 2
    assert len(finished_keys(run)) == 20


def test_endless_429s_end_the_shard(tmp_path: Path) -> None:
    with server((429, {"error": {"code": 429, "message": "exceeded"}}), window_s=0.05) as sim:
        run, config = planned(tmp_path, sim, 5, keys(1))
        with pytest.raises(IncompleteError, match=r"refused in 11 quota windows.*stop other programs"):
            generate_shard(run, 1, keys(1)[0], config)
    assert finished_keys(run) == []


def test_html_page_with_status_200_is_a_temporary_failure(tmp_path: Path) -> None:
    with server((200, b"<html>proxy</html>"), (200, ANSWER)) as sim:
        run, config = planned(tmp_path, sim, 3, keys(1))
        part = generate_shard(run, 1, keys(1)[0], config)
    assert (part.faults, part.quarantined) == (1, 0)


TEXT = completion("물론입니다! 다음과 같습니다.")


@pytest.mark.parametrize("later", [(400, FAULT), (200, TEXT)], ids=["refused", "unreadable"])
def test_server_that_starts_to_reject_everything_quarantines_no_chunk(
    tmp_path: Path, later: tuple[int, object]
) -> None:
    with server((200, ANSWER), (200, ANSWER), later) as sim:
        run, config = planned(tmp_path, sim, 30, keys(1), max_retries=0, chunks_per_call=1)
        with pytest.raises(
            InvalidInputError,
            match=r"requests in a row .*check the teacher's settings, then run the same",
        ):
            generate_shard(run, 1, keys(1)[0], config)
    assert len(finished_keys(run)) == 2


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (402, KeyRejectedError, r"rejects the key \(402\): no"),
        (451, InvalidInputError, "answers 451"),
        (302, InvalidInputError, "a redirection; set --base-url to the address it leads to"),
    ],
)
def test_fault_of_account_or_address_quarantines_no_chunk(
    tmp_path: Path, status: int, kind: type[Exception], message: str
) -> None:
    with server((status, {"error": {"code": status, "message": "no"}})) as sim:
        run, config = planned(tmp_path, sim, 5, keys(1))
        with pytest.raises(kind, match=message):
            generate_shard(run, 1, keys(1)[0], config)
    assert finished_keys(run) == []


def test_address_without_a_scheme_is_invalid_input(tmp_path: Path) -> None:
    with server((200, ANSWER)) as sim:
        run, config = planned(tmp_path, sim, 2, keys(1))
    with pytest.raises(InvalidInputError, match=r"--base-url '127.0.0.1:9': not an address; use http://HOST"):
        generate_shard(run, 1, keys(1)[0], config.model_copy(update={"base_url": "127.0.0.1:9"}))


def test_half_a_surrogate_pair_in_an_answer_becomes_a_question_mark(tmp_path: Path) -> None:
    pair = json.dumps([{**PAIR, "answer": PAIR["answer"] + "@"}]).replace("@", "\\ud83d")
    with server((200, completion(pair))) as sim:
        run, config = planned(tmp_path, sim, 2, keys(1))
        assert generate_shard(run, 1, keys(1)[0], config).rows == 2
    assert rows(run)[0].output.endswith("?")
