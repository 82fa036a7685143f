"""A server with the part of the Hugging Face Hub's API that an upload uses. Remembers commits and tags."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

COMMIT = "c" * 40


@dataclass
class FakeHub:
    """What was uploaded."""

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """`datasets/acme/qa` -> path in the repository -> content."""
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    """Repository -> tag -> commit."""
    private: dict[str, bool] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    refuse: bool = False
    """Whether every commit is refused, as without write access."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers requests for the hub of its subclass."""

    hub: ClassVar[FakeHub]

    def do_POST(self) -> None:
        """Answer the requests of an upload."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.tokens.add(self.headers.get("Authorization", ""))
        if self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
        else:
            self._change(body)

    def do_GET(self) -> None:
        """Answer requests that an upload can do without."""
        self._send(404, {"error": self.path})

    def _create(self, wanted: dict[str, str]) -> None:
        created = f"{wanted.get('type', 'model')}s/{wanted['organization']}/{wanted['name']}"
        self.hub.private[created] = wanted["visibility"] == "private"
        self._send(200, {"url": f"{self.hub.url}/{created}"})

    def _change(self, body: bytes) -> None:
        kind, name, action, revision = self._parts()
        repository = f"{kind}/{name}"
        if action == "preupload":
            files = [{**f, "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]
            self._send(200, {"files": files})
        elif action == "commit" and self.hub.refuse:
            self._send(403, {"error": "You don't have the rights"})
        elif action == "commit":
            lines = [json.loads(line) for line in body.splitlines()]
            content = {x["value"]["path"]: x["value"]["content"] for x in lines if x["key"] == "file"}
            self.hub.files[repository] = {path: base64.b64decode(text) for path, text in content.items()}
            self._send(200, {"commitUrl": f"{self.hub.url}/{repository}/commit/{COMMIT}", "commitOid": COMMIT})
        elif action == "tag":
            self.hub.tags.setdefault(repository, {})[json.loads(body)["tag"]] = revision
            self._send(200, {})
        else:
            self._send(404, {"error": self.path})

    def do_DELETE(self) -> None:
        """Remove a tag."""
        kind, name, _, tag = self._parts()
        if self.hub.tags.get(f"{kind}/{name}", {}).pop(tag, None) is None:
            self._send(404, {"error": "no such tag"}, {"X-Error-Code": "RevisionNotFound"})
        else:
            self._send(200, {})

    def _parts(self) -> tuple[str, str, str, str]:
        """Return kind, name, action and revision of a path such as /api/models/acme/qa/tag/main."""
        found = re.match(r"/api/(\w+)/([^/]+/[^/]+)/(\w+)/([^/?]+)", self.path)
        return found.groups() if found else ("", "", "", "")  # type: ignore[return-value]

    def _send(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serve the API on a free port of this machine."""
    hub = FakeHub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
