"""A proxy in front of an S3 server that refuses requests, answers errors for a while, or returns old lists."""

from __future__ import annotations

import http.client
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

_CONTENT = re.compile(r"<Contents>.*?<Key>(.*?)</Key>.*?</Contents>", re.DOTALL)
_PREFIX = re.compile(r"<CommonPrefixes><Prefix>(.*?)</Prefix></CommonPrefixes>", re.DOTALL)


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing if a client was killed."""


class FaultyProxy:
    """Forwards requests to `url`. Set the attributes to make it fail."""

    def __init__(self, url: str) -> None:
        self.errors_left = 0
        """Number of requests to answer with 503."""
        self.forbidden: set[str] = set()
        """HTTP methods that are answered with 403."""
        self.listed: set[str] | None = None
        """If set, lists show only these keys."""
        self.ignores_conditions = False
        """Whether conditions of writes are removed, as by a server that does not know them."""
        self.hangs_up = 0
        """Number of requests whose answers are lost after the server has carried them out."""
        self.requests: list[tuple[str, str]] = []
        self._target = urlsplit(url).netloc
        self._server = _QuietServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyProxy:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the answer to a request. Raises ConnectionError to lose the answer."""
        self.requests.append((method, path))
        if self.errors_left > 0:
            self.errors_left -= 1
            return 503, {}, b"<Error><Code>SlowDown</Code></Error>"
        if method in self.forbidden:
            return 403, {}, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        if self.ignores_conditions:
            headers = {name: value for name, value in headers.items() if not name.lower().startswith("if-")}
        connection = http.client.HTTPConnection(self._target, timeout=30)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        status, found, content = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        if self.hangs_up > 0 and method == "PUT":
            self.hangs_up -= 1
            raise ConnectionError
        if self.listed is not None and "list-type" in parse_qs(urlsplit(path).query):
            content = self._old_list(content.decode(), self.listed).encode()
        dropped = {"connection", "server", "date", "transfer-encoding"} | (
            {"content-length"} if method != "HEAD" else set()
        )
        return status, {k: v for k, v in found.items() if k.lower() not in dropped}, content

    def _old_list(self, text: str, listed: set[str]) -> str:
        text = _CONTENT.sub(lambda m: m.group() if m.group(1) in listed else "", text)
        return _PREFIX.sub(lambda m: m.group() if any(k.startswith(m.group(1)) for k in listed) else "", text)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    status, headers, content = proxy.answer(self.command, self.path, dict(self.headers), body)
                except ConnectionError:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if not any(name.lower() == "content-length" for name in headers):
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = forward

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing."""

        return Handler
