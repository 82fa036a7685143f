"""The server: uvicorn around the application, and `running_simulator` for tests."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gemini_simulator.app import make_app
from gemini_simulator.config import SimulatorConfig
from gemini_simulator.service import Service
from insurance_rag.core.errors import ServerUnavailableError


class AbortableProtocol(HttpToolsProtocol):
    """Lets a handler drop its connection, which ASGI has no word for."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"abort": self.transport.abort}  # type: ignore[dict-item]


@dataclass(frozen=True)
class Bound:
    """A server whose port is open and which does not yet run."""

    server: uvicorn.Server
    listener: socket.socket
    service: Service

    @property
    def url(self) -> str:
        host, port = self.listener.getsockname()[:2]
        return f"http://{host}:{port}"

    def run(self) -> None:
        self.server.run(sockets=[self.listener])


def bind(config: SimulatorConfig) -> Bound:
    """A server at the configured address; ServerUnavailableError where it is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(1024)  # requests that come before the server runs wait in the queue
    except OSError as e:
        listener.close()
        where = f"{config.host}:{config.port}"
        raise ServerUnavailableError(f"{where} cannot be listened on ({e.strerror}); --port 0 takes a free port") from e
    app = make_app(config)
    options = uvicorn.Config(
        app,
        http=AbortableProtocol,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
    )
    return Bound(uvicorn.Server(options), listener, app.state.service)


@dataclass(frozen=True)
class RunningSimulator:
    """A simulator that serves at `url` from a thread of this process."""

    url: str
    config: SimulatorConfig

    @property
    def window_s(self) -> float:
        """How long its minute lasts: what a client is told by GEMINI_QUOTA_WINDOW_S."""
        return 60 / self.config.speed

    def stats(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.url}/stats", timeout=30).json())

    def truth(self) -> list[dict[str, Any]]:
        return list(httpx.get(f"{self.url}/truth", timeout=30).json())


@contextlib.contextmanager
def running_simulator(**options: Any) -> Iterator[RunningSimulator]:
    """Serve a simulator on a free port while the block runs; `options` are the fields of SimulatorConfig."""
    config = SimulatorConfig.parse(options, "simulator")
    bound = bind(config)
    thread = threading.Thread(target=bound.run, name="simulator", daemon=True)
    thread.start()
    try:
        yield RunningSimulator(bound.url, config)
    finally:
        bound.server.should_exit = True
        thread.join(timeout=10)
        bound.listener.close()
