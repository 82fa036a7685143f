"""Where API keys may be sent: schemes, hosts, redirects, and what a user who starts a run may choose."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest
from pydantic import SecretStr

from insurance_rag.config import RunConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.llm.client import Client
from insurance_rag.llm.gemini import api_key_header
from insurance_rag.orchestration.allowed_hosts import VARIABLE, check_addresses

KEY = "secret-key-1"


class Recorder(http.server.BaseHTTPRequestHandler):
    """Redirects /redirect to `target`, and records the headers of every request."""

    target: ClassVar[str] = ""
    seen: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.send_response(302 if self.path == "/redirect" else 200)
        self.send_header("Location", self.target)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def recorder() -> Iterator[str]:
    Recorder.seen.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    Recorder.target = f"http://localhost:{server.server_port}/stolen"
    yield url
    server.shutdown()


def test_a_redirect_is_not_followed_so_no_other_host_gets_the_key(recorder: str) -> None:
    client = Client(recorder, SecretStr(KEY), api_key_header(SecretStr(KEY)), 5.0)
    with client, pytest.raises(InvalidInputError, match="a redirection; set --base-url"):
        client.call("GET", "/redirect")
    assert [path for path, _ in Recorder.seen] == ["/redirect"]


def test_the_key_is_in_a_header_and_not_in_the_address(recorder: str) -> None:
    with Client(recorder, SecretStr(KEY), api_key_header(SecretStr(KEY)), 5.0) as client:
        client.call("GET", "/v1beta/models")
    [(path, headers)] = Recorder.seen
    assert headers["x-goog-api-key"] == KEY and KEY not in path


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://h/x", "gopher://h", "unix:/run/docker.sock", "http:///x", "//h", "", "h:80"]
)
def test_only_http_addresses_are_accepted(url: str) -> None:
    with pytest.raises(InvalidInputError, match="not an address"):
        Client(url, SecretStr(KEY), {}, 1.0)


def run(**settings: object) -> RunConfig:
    return RunConfig.parse(settings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("generation.base_url", {"generation": {"base_url": "https://evil.example"}}),
        ("generation.base_url", {"generation": {"base_url": "http://169.254.169.254/latest"}}),
        ("generation.base_url", {"generation": {"base_url": "http://generativelanguage.googleapis.com@evil.example"}}),
        ("generation.base_url", {"generation": {"base_url": "https://localhost.evil.example"}}),
        ("generation.base_url", {"generation": {"base_url": "http://[::ffff:10.0.0.1]"}}),
        ("generation.base_url", {"generation": {"base_url": "file:///etc/passwd"}}),
        ("evaluation.judge", {"evaluation": {"judge": "m@http://10.0.0.1:8000/v1"}}),
        ("evaluation.retrieval.embedder", {"evaluation": {"retrieval": {"embedder": "openai:m@http://evil.example"}}}),
    ],
)
def test_a_user_who_starts_a_run_cannot_send_the_keys_elsewhere(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match=rf"^parameters: {name}: API keys .* may not be sent to .*; put the"):
        check_addresses(run(**settings))


def test_the_hosts_of_the_administrator_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_BASE_URL", "http://simulator:8787")
    monkeypatch.setenv(VARIABLE, "llm.internal, 10.0.0.7:8000, [fd00::7]:8000")
    for url in (
        "http://simulator:8787/",
        "https://generativelanguage.googleapis.com",
        "http://127.0.0.1:1",
        "http://[::1]:9/v1",
        "http://[::1]/",
        "http://[fd00::7]:8000/v1",
        "https://LLM.internal:9000/v1",
        "http://10.0.0.7:8000/v1",
    ):
        check_addresses(run(generation={"base_url": url}))
    for host in ("simulator:22", "10.0.0.7:22", "[fd00::7]:22", "[fd00::8]"):
        url = f"http://{host}"
        with pytest.raises(InvalidInputError, match=rf"may not be sent to '{re.escape(host)}'"):
            check_addresses(run(generation={"base_url": url}))


def test_every_dag_checks_the_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from insurance_rag.orchestration.run_request import requested_config

    conf = {"generation": {"base_url": "https://evil.example"}}
    context = {"dag_run": SimpleNamespace(conf=conf)}
    with pytest.raises(InvalidInputError, match=r"may not be sent to 'evil\.example'"):
        requested_config({}, context, None, asks=False)
