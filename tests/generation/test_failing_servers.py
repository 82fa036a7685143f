"""Servers that reject everything: the shard ends with an error that says what to do, and quarantines nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.generation.runs import Server, finished_keys, keys, planned, rows

from insurance_rag.core.errors import IncompleteError, InvalidInputError, KeyRejectedError
from insurance_rag.generation import generate_shard

PAIR = {"type": "fact", "question": "얼마인가요?", "answer": "3만원입니다.", "evidence": ""}
ANSWER = {"candidates": [{"content": {"parts": [{"text": json.dumps([PAIR])}]}, "finishReason": "STOP"}]}
FAULT = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Unknown name responseSchema"}}


@contextmanager
def server(*answers: tuple[int, object], window_s: float = 0.1) -> Iterator[Server]:
    """Serve the answers in turn, and the last one to every further request."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield Server(f"http://127.0.0.1:{httpd.server_port}", window_s)
        httpd.shutdown()


def test_rejection_of_every_request_quarantines_no_chunk(tmp_path: Path) -> None:
    with server((400, FAULT)) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        with pytest.raises(
            InvalidInputError,
            match=r"last 5 requests in a row .*responseSchema.*check the teacher's settings",
        ):
            generate_shard(run, 1, keys(1)[0], config)
    assert finished_keys(run) == []


def test_rejection_of_single_requests_quarantines_their_chunks(tmp_path: Path) -> None:
    with server((400, FAULT), (400, FAULT), (200, ANSWER)) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        part = generate_shard(run, 1, keys(1)[0], config)
    assert part.quarantined == 2
    assert len(finished_keys(run)) == 20


def test_endless_429s_end_the_shard(tmp_path: Path) -> None:
    with server((429, {"error": {"code": 429, "message": "exceeded"}}), window_s=0.05) as sim:
        run, config = planned(tmp_path, sim, 5, keys(1))
        with pytest.raises(IncompleteError, match=r"refused for 1[0-9] minutes.*stop other programs"):
            generate_shard(run, 1, keys(1)[0], config)
    assert finished_keys(run) == []


def test_html_page_with_status_200_is_a_temporary_failure(tmp_path: Path) -> None:
    with server((200, b"<html>proxy</html>"), (200, ANSWER)) as sim:
        run, config = planned(tmp_path, sim, 3, keys(1))
        part = generate_shard(run, 1, keys(1)[0], config)
    assert (part.faults, part.quarantined) == (1, 0)


TEXT = {"candidates": [{"content": {"parts": [{"text": "물론입니다! 다음과 같습니다."}]}, "finishReason": "STOP"}]}


@pytest.mark.parametrize("later", [(400, FAULT), (200, TEXT)], ids=["refused", "unreadable"])
def test_server_that_starts_to_reject_everything_quarantines_no_chunk(
    tmp_path: Path, later: tuple[int, object]
) -> None:
    with server((200, ANSWER), (200, ANSWER), later) as sim:
        run, config = planned(tmp_path, sim, 30, keys(1), max_retries=0)
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
    body = {"candidates": [{"content": {"parts": [{"text": pair}]}, "finishReason": "STOP"}]}
    with server((200, body)) as sim:
        run, config = planned(tmp_path, sim, 2, keys(1))
        assert generate_shard(run, 1, keys(1)[0], config).rows == 2
    assert rows(run)[0].output.endswith("?")
