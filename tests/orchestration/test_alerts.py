"""Messages about failures and late runs: always in the log, and posted if a webhook is configured."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from insurance_rag.core.errors import InvalidInputError, KeyRejectedError
from insurance_rag.orchestration.alert_texts import AlertContext, failure_text, success_text
from insurance_rag.orchestration.alerts import FirstQueuedAt, deadline_after, notify_failure
from insurance_rag.orchestration.notifier import AlertNotifier

RUN = "manual__2026-11-23T04:00:00+00:00"
LATE: AlertContext = {"dag_run": {"dag_id": "finetune_pipeline", "dag_run_id": RUN}, "deadline": {}}


@dataclass
class FailedTask:
    """The part of Airflow's task instance that a message needs."""

    rendered_map_index: str | None = "shard 2/7 · gemini_k2"
    map_index: int = 1
    dag_id: str = "finetune_pipeline"
    run_id: str = RUN
    task_id: str = "generate"
    try_number: int = 1
    max_tries: int = 3
    state: str = "failed"


class Webhook(HTTPServer):
    """Records what is posted to it and answers with `status`."""

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


async def await_notifier(notifier: AlertNotifier) -> None:
    """Do what the triggerer does with the callback of a deadline."""
    await notifier


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
    text = failure_text(FailedTask(), KeyRejectedError("gemini_k2: API key not valid"))
    what, why, todo, resume, look = text.splitlines()
    assert what == f"failed: finetune_pipeline · generate [shard 2/7 · gemini_k2] · {RUN}"
    assert why == "why:    KeyRejectedError: gemini_k2: API key not valid"
    assert "replace the key in its connection" in todo
    assert resume == f"resume: airflow dags clear --run-id {RUN} --only-failed -y finetune_pipeline"
    assert look.endswith("/dags/finetune_pipeline/runs/manual__2026-11-23T04%3A00%3A00%2B00%3A00")


def test_a_failure_without_an_error_or_with_a_long_one() -> None:
    assert "exited without an error message" in failure_text(FailedTask(None, -1), None)
    assert "generate · manual" in failure_text(FailedTask(None, -1), None)
    assert "[0]" in failure_text(FailedTask(None, 0), None)
    long = failure_text(FailedTask(), InvalidInputError([f"line {n}" for n in range(1000)]))
    assert len(long) < 2500 and "the input is invalid" in long


def test_messages_are_posted_to_the_webhook_of_the_connection(webhook: Webhook) -> None:
    notify_failure({"ti": FailedTask(), "exception": KeyRejectedError("no")})
    asyncio.run(await_notifier(AlertNotifier(hours=24, context=LATE)))
    assert [path for path, _ in webhook.posts] == ["/hooks/secret-end"] * 2
    assert webhook.posts[0][1] == failure_text(FailedTask(), KeyRejectedError("no"))
    assert "not done 24 hours after it was queued" in webhook.posts[1][1]


def test_one_notifier_renders_its_templates_again_for_every_task(webhook: Webhook) -> None:
    notifier = AlertNotifier("{{ ti.task_id }} of {{ ti.dag_id }}", connection="{{ 'chat' }}")
    for task in ("train", "evaluate"):
        notifier({"ti": FailedTask(task_id=task), "exception": KeyRejectedError("no")})
    late = AlertNotifier("{{ dag_run.dag_id }} is late", connection="chat", context=LATE)
    asyncio.run(await_notifier(late))
    texts = [text for _, text in webhook.posts]
    assert texts == ["train of finetune_pipeline", "evaluate of finetune_pipeline", "finetune_pipeline is late"]


def test_the_text_fits_the_kind_of_callback(webhook: Webhook) -> None:
    done = FailedTask(state="success")
    notify_failure({"ti": done})
    notify_failure({"ti": FailedTask(state="up_for_retry"), "exception": KeyRejectedError("no")})
    notify_failure({"ti": done, "dag_run": done, "reason": "task_failure"})
    success, retry, run = (text for _, text in webhook.posts)
    assert success == success_text(done) and success.startswith("done:   finetune_pipeline · generate")
    assert retry.startswith("again:  finetune_pipeline") and "why:    KeyRejectedError: no" in retry
    assert run.startswith(f"run:    finetune_pipeline · {RUN}: task_failure")


def test_an_undelivered_message_is_logged_without_the_address(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.status = 403
    with caplog.at_level(logging.WARNING):
        notify_failure({"ti": FailedTask(), "exception": KeyRejectedError("no")})
        asyncio.run(await_notifier(AlertNotifier(hours=24, context=LATE)))
        monkeypatch.setenv("ALERT_CONNECTION", "no_such_connection")
        notify_failure({"ti": FailedTask(), "exception": KeyRejectedError("no")})
        wrong = {"conn_type": "http", "host": "http://[::hooks", "password": "secret-end"}
        monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps(wrong))
        monkeypatch.setenv("ALERT_CONNECTION", "wrong")
        notify_failure({"ti": FailedTask(), "exception": KeyRejectedError("no")})
    assert caplog.text.count("the alert could not be posted") == 4 and "secret-end" not in caplog.text


def test_the_deadline_names_a_callback_that_the_triggerer_can_import() -> None:
    alert = deadline_after(hours=24)
    assert alert.callback.path == "insurance_rag.orchestration.notifier.AlertNotifier"
    assert alert.interval.total_seconds() == 24 * 3600 and alert.name == "done in 24 h"


def test_the_dag_page_says_what_the_deadline_counts_from() -> None:
    """Airflow shows "Must complete within a day of" and the name of the reference."""
    assert FirstQueuedAt().serialize_reference() == {"reference_type": "the time it was first queued"}
