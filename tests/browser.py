"""Control a headless Chromium over its DevTools protocol: `with Browser() as browser: browser.open(url)`.

Needs Debian's packages `chromium` and `fonts-nanum` (.ci/run installs them).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.request import urlopen

from websocket import WebSocket, create_connection

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--accept-lang=ko-KR",
    "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip


def chromium_path() -> str | None:
    """Return the path of $CHROMIUM or of an installed Chromium; None if there is none."""
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


class Browser:
    """One page. `requests` are the URLs that it requested, `errors` the errors of its console."""

    def __init__(self, width: int = 1200, height: int = 900) -> None:
        self.size = width, height
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._number = 0

    def __enter__(self) -> Browser:
        program = chromium_path()
        assert program, "no Chromium found; conftest.py skips browser tests then"
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        self._process = subprocess.Popen(
            [program, *OPTIONS, f"--user-data-dir={self._profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port = self._wait_for_port()
        targets = json.load(urlopen(f"http://127.0.0.1:{port}/json", timeout=10))
        page = next(target for target in targets if target["type"] == "page")
        self._socket: WebSocket = create_connection(page["webSocketDebuggerUrl"], timeout=60)
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.look(*self.size)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _wait_for_port(self) -> str:
        file = Path(self._profile) / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not file.is_file() or not file.read_text():
            assert self._process.poll() is None and time.monotonic() < deadline, "Chromium did not start"
            time.sleep(0.05)
        return file.read_text().split()[0]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the protocol and return its result; events that arrive meanwhile are recorded."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._record_event(message)

    def _record_event(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        if event["method"] == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"].get("exception", {}).get("description", str(params)))
        if event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; promises are awaited."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]["exception"].get("description")
        return result["result"].get("value")

    def wait(self, condition: str, timeout_s: float = 30) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if self.run(f"!!({condition})"):
                    return
            except AssertionError:  # the browser is loading another page
                pass
            assert time.monotonic() < deadline, f"still not true after {timeout_s:.0f} s: {condition}"
            time.sleep(0.1)

    def press(self, key: str) -> None:
        text = {"Enter": "\r", "/": "/"}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def look(self, width: int, height: int, scheme: str = "light", media: str = "") -> None:
        """Set the size of the window, the colour scheme of the user, and with `media="print"` the print layout."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Save what the window shows, or the whole page, as PNG."""
        clip = {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16_000), "scale": 1}}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole, **clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"]))
