"""Servers that refuse everything: a shard must end with a word of what to do, and set nothing aside."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.generation.runs import journal_keys, keys, planned, rows

from insurance_rag.core.errors import IncompleteError, InvalidInputError, KeyRejectedError
from insurance_rag.generation import generate_shard

PAIR = {"type": "fact", "question": "얼마인가요?", "answer": "3만원입니다.", "evidence": ""}
ANSWER = {"candidates": [{"content": {"parts": [{"text": json.dumps([PAIR])}]}, "finishReason": "STOP"}]}
FAULT = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Unknown name responseSchema"}}


@contextmanager
def server(*answers: tuple[int, object], window_s: float = 0.1) -> Iterator[SimpleNamespace]:
    """Gives the answers in turn, the last one for ever."""
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
        yield SimpleNamespace(url=f"http://127.0.0.1:{httpd.server_port}", window_s=window_s)
        httpd.shutdown()


def test_a_request_that_no_clause_can_make_right_sets_none_aside(tmp_path: Path) -> None:
    with server((400, FAULT)) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        with pytest.raises(
            InvalidInputError, match=r"refuses every request .*responseSchema.*check the teacher's settings"
        ):
            generate_shard(run, 1, keys(1)[0], config)
    assert journal_keys(run) == []


def test_a_request_of_one_clause_sets_that_aside(tmp_path: Path) -> None:
    with server((400, FAULT), (400, FAULT), (200, ANSWER)) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        part = generate_shard(run, 1, keys(1)[0], config)
    assert part["quarantined"] == 2
    assert len(journal_keys(run)) == 20


def test_endless_429s_end_the_shard(tmp_path: Path) -> None:
    with server((429, {"error": {"code": 429, "message": "exceeded"}}), window_s=0.05) as sim:
        run, config = planned(tmp_path, sim, 5, keys(1))
        with pytest.raises(IncompleteError, match=r"refused for 1[0-9] minutes.*others may be using the project"):
            generate_shard(run, 1, keys(1)[0], config)
    assert journal_keys(run) == []


def test_an_html_page_with_status_200_is_a_passing_fault(tmp_path: Path) -> None:
    with server((200, b"<html>proxy</html>"), (200, ANSWER)) as sim:
        run, config = planned(tmp_path, sim, 3, keys(1))
        part = generate_shard(run, 1, keys(1)[0], config)
    assert (part["faults"], part["quarantined"]) == (1, 0)


PROSE = {"candidates": [{"content": {"parts": [{"text": "물론입니다! 다음과 같습니다."}]}, "finishReason": "STOP"}]}


@pytest.mark.parametrize("later", [(400, FAULT), (200, PROSE)], ids=["refused", "unreadable"])
def test_a_server_that_turns_odd_sets_the_rest_of_the_clauses_not_aside(
    tmp_path: Path, later: tuple[int, object]
) -> None:
    with server((200, ANSWER), (200, ANSWER), later) as sim:
        run, config = planned(tmp_path, sim, 30, keys(1), max_retries=0)
        with pytest.raises(
            InvalidInputError, match=r"clauses in a row .*check the teacher's settings, then run this again"
        ):
            generate_shard(run, 1, keys(1)[0], config)
    assert len(journal_keys(run)) == 2


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (402, KeyRejectedError, "402: no"),
        (451, InvalidInputError, "answers 451"),
        (302, InvalidInputError, "a redirection; give the address it leads to"),
    ],
)
def test_what_concerns_the_account_or_the_address_sets_no_clause_aside(
    tmp_path: Path, status: int, kind: type[Exception], message: str
) -> None:
    with server((status, {"error": {"code": status, "message": "no"}})) as sim:
        run, config = planned(tmp_path, sim, 5, keys(1))
        with pytest.raises(kind, match=message):
            generate_shard(run, 1, keys(1)[0], config)
    assert journal_keys(run) == []


def test_an_address_without_a_scheme_is_no_outage(tmp_path: Path) -> None:
    with server((200, ANSWER)) as sim:
        run, config = planned(tmp_path, sim, 2, keys(1))
    with pytest.raises(InvalidInputError, match=r"base_url '127.0.0.1:9': want http://HOST"):
        generate_shard(run, 1, keys(1)[0], config.model_copy(update={"base_url": "127.0.0.1:9"}))


def test_half_a_surrogate_pair_in_an_answer_is_a_question_mark(tmp_path: Path) -> None:
    pair = json.dumps([{**PAIR, "answer": PAIR["answer"] + "@"}]).replace("@", "\\ud83d")
    body = {"candidates": [{"content": {"parts": [{"text": pair}]}, "finishReason": "STOP"}]}
    with server((200, body)) as sim:
        run, config = planned(tmp_path, sim, 2, keys(1))
        assert generate_shard(run, 1, keys(1)[0], config)["rows"] == 2
    assert rows(run)[0]["output"].endswith("?")
