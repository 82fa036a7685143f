"""What people are told of a failure or a late run: in the log always, by a webhook where one is configured."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from insurance_rag.core.errors import InvalidInputError, KeyRejectedError
from insurance_rag.orchestration.alerts import deadline_after, failure_text, notify_failure, notify_late

RUN = "manual__2026-11-23T04:00:00+00:00"
LATE = {"dag_run": {"dag_id": "finetune_pipeline", "dag_run_id": RUN}, "deadline": {}}


def task(label: str | None = "shard 2/7 · gemini_k2", map_index: int = 1) -> SimpleNamespace:
    ids = {"dag_id": "finetune_pipeline", "run_id": RUN, "task_id": "generate", "map_index": map_index}
    return SimpleNamespace(**ids, rendered_map_index=label, try_number=1, max_tries=3)


class Webhook(HTTPServer):
    """Keeps what is posted to it; answers `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posts: list[tuple[str, str]] = []
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, json.loads(body)["text"]))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    server = Webhook()
    connection = {"conn_type": "http", "host": f"http://127.0.0.1:{server.server_port}/hooks", "password": "secret-end"}
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", json.dumps(connection))
    monkeypatch.setenv("ALERT_CONNECTION", "chat")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_failure_says_what_why_what_to_do_and_how_to_resume() -> None:
    text = failure_text(task(), KeyRejectedError("gemini_k2: API key not valid"))
    what, why, todo, resume, look = text.splitlines()
    assert what == f"failed: finetune_pipeline · generate [shard 2/7 · gemini_k2] · {RUN}"
    assert why == "why:    KeyRejectedError: gemini_k2: API key not valid"
    assert "replace it in its connection" in todo
    assert resume == f"resume: airflow dags clear --run-id {RUN} --only-failed -y finetune_pipeline"
    assert look.endswith("/dags/finetune_pipeline/runs/manual__2026-11-23T04%3A00%3A00%2B00%3A00")


def test_a_failure_without_an_error_or_with_a_long_one() -> None:
    assert "ended without a word" in failure_text(task(None, -1), None)
    assert "generate · manual" in failure_text(task(None, -1), None)
    assert "[0]" in failure_text(task(None, 0), None)
    long = failure_text(task(), InvalidInputError([f"line {n}" for n in range(1000)]))
    assert len(long) < 2500 and "the input is wrong" in long


def test_it_is_posted_to_the_webhook_of_the_connection(webhook: Webhook) -> None:
    notify_failure({"ti": task(), "exception": KeyRejectedError("no")})
    asyncio.run(notify_late(24, LATE))
    assert [path for path, _ in webhook.posts] == ["/hooks/secret-end"] * 2
    assert webhook.posts[0][1] == failure_text(task(), KeyRejectedError("no"))
    assert "not done 24 hours after it was queued" in webhook.posts[1][1]


def test_a_webhook_that_refuses_is_told_of_without_its_address(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.status = 403
    with caplog.at_level(logging.WARNING):
        notify_failure({"ti": task(), "exception": KeyRejectedError("no")})
        asyncio.run(notify_late(24, LATE))
        monkeypatch.setenv("ALERT_CONNECTION", "no_such_connection")
        notify_failure({"ti": task(), "exception": KeyRejectedError("no")})
    assert caplog.text.count("the alert could not be posted") == 3 and "secret-end" not in caplog.text


def test_the_deadline_names_a_callback_that_the_triggerer_can_import() -> None:
    alert = deadline_after(hours=24)
    assert alert.callback.path == "insurance_rag.orchestration.alerts.notify_late"
    assert alert.interval.total_seconds() == 24 * 3600 and alert.name == "done in 24 h"
