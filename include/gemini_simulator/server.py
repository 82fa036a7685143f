"""Serves the simulator with uvicorn, either in the calling thread (`bind`) or in a new thread (`running_simulator`)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gemini_simulator.app import make_app
from gemini_simulator.config import SimulatorConfig
from gemini_simulator.pairs import GroundTruth
from gemini_simulator.service import Service
from gemini_simulator.stats import SimulatorStats
from insurance_rag.core.errors import ServerUnavailableError


class AbortableProtocol(HttpToolsProtocol):
    """Lets a request handler reset the connection, which ASGI itself does not support."""

    def on_message_begin(self) -> None:
        """Extend the request's ASGI scope with a function that aborts the connection."""
        super().on_message_begin()
        self.scope["extensions"] = {"abort": self.transport.abort}  # type: ignore[dict-item]


@dataclass(frozen=True)
class BoundServer:
    """A server that already listens on its port. It answers no requests until `run` is called."""

    server: uvicorn.Server
    listener: socket.socket
    service: Service

    @property
    def url(self) -> str:
        """Base URL without a path."""
        host, port = self.listener.getsockname()[:2]
        return f"http://{host}:{port}"

    def run(self) -> None:
        """Serve until `server.should_exit` is set or the process is interrupted."""
        self.server.run(sockets=[self.listener])


def bind(config: SimulatorConfig) -> BoundServer:
    """Listen on the configured address. Raises ServerUnavailableError if that is impossible."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(1024)  # connections that arrive before the server runs wait in this queue
    except OSError as e:
        listener.close()
        address = f"{config.host}:{config.port}"
        raise ServerUnavailableError(
            f"cannot listen on {address} ({e.strerror}); use another port, or --port 0 for a free one"
        ) from e
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
    return BoundServer(uvicorn.Server(options), listener, app.state.service)


@dataclass(frozen=True)
class RunningSimulator:
    """A simulator that runs in a thread of this process."""

    url: str
    config: SimulatorConfig

    @property
    def window_s(self) -> float:
        """Length of a simulated minute in real seconds. Clients read it from the variable GEMINI_QUOTA_WINDOW_S."""
        return 60 / self.config.speed

    def stats(self) -> SimulatorStats:
        """Return the statistics from GET /stats."""
        stats: SimulatorStats = httpx.get(f"{self.url}/stats", timeout=30).json()
        return stats

    def ground_truth(self) -> list[GroundTruth]:
        """Return the records from GET /ground_truth: every pair that the simulator has sent, with its defect."""
        pairs: list[GroundTruth] = httpx.get(f"{self.url}/ground_truth", timeout=30).json()
        return pairs


@contextlib.contextmanager
def running_simulator(**options: object) -> Iterator[RunningSimulator]:
    """Run a simulator on a free port for the duration of a `with` block. `options` are fields of SimulatorConfig."""
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
