"""tools/pin_images.py asks a registry for the digests of the tags and writes them into the files."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.deploy.files import ROOT

NEW = "sha256:" + "b" * 64
OLD = "sha256:" + "a" * 64


class Registry(BaseHTTPRequestHandler):
    """A registry with one image, `library/postgres:16`, that wants a token even for anonymous requests."""

    def do_HEAD(self) -> None:
        host = self.headers["Host"]
        if self.headers["Authorization"] != "Bearer t0ken":
            self.send_response(401)
            challenge = f'Bearer realm="http://{host}/token",service="test",scope="repository:library/postgres:pull"'
            self.send_header("WWW-Authenticate", challenge)
        elif self.path == "/v2/library/postgres/manifests/16":
            self.send_response(200)
            self.send_header("Docker-Content-Digest", NEW)
        else:
            self.send_response(404)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"token": "t0ken"}).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def pin(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/pin_images.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_tag_gets_its_current_digest(registry: str, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(f"image: {registry}/library/postgres:16@{OLD}\nbuild: .\n")
    assert pin("--check", str(file)).returncode == 1 and OLD in file.read_text()
    assert pin(str(file)).returncode == 0
    assert file.read_text() == f"image: {registry}/library/postgres:16@{NEW}\nbuild: .\n"
    assert pin("--check", str(file)).returncode == 0


def test_an_unknown_image_changes_nothing(registry: str, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(f"FROM {registry}/library/other:1@{OLD}\n")
    done = pin(str(file))
    assert done.returncode == 2 and "library/other:1: the registry did not give its digest" in done.stderr
    assert OLD in file.read_text()


def test_names_lead_to_the_right_registry() -> None:
    from tools.pin_images import FILES, PINNED, manifest_url

    assert manifest_url("postgres:16") == "https://registry-1.docker.io/v2/library/postgres/manifests/16"
    assert manifest_url("a/b:1") == "https://registry-1.docker.io/v2/a/b/manifests/1"
    assert manifest_url("ghcr.io/a/b:1") == "https://ghcr.io/v2/a/b/manifests/1"
    found = {match["image"] for path in FILES for match in PINNED.finditer(path.read_text(encoding="utf-8"))}
    assert {image.split(":")[0] for image in found} == {"python", "postgres", "redis", "chrislusf/seaweedfs"}
