"""The server of a campaign: the Gemini simulator in a thread, behind a proxy that can drop the network."""

from __future__ import annotations

import logging
import threading

from chaos.proxy import Proxy
from gemini_simulator.config import SimulatorConfig
from gemini_simulator.pairs import GroundTruth
from gemini_simulator.records import RequestRecord
from gemini_simulator.server import bind


class CampaignServer:
    """A simulator whose settings can change while it runs, and whose record the checker reads."""

    def __init__(self, config: SimulatorConfig) -> None:
        """Start the simulator and the proxy, both on free ports."""
        self._bound = bind(config)
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # killed clients leave broken connections
        self._thread = threading.Thread(target=self._bound.run, name="simulator", daemon=True)
        self._thread.start()
        host, port = self._bound.listener.getsockname()[:2]
        self.proxy = Proxy(host, port)

    def close(self) -> None:
        """Stop the proxy and the simulator."""
        self.proxy.close()
        self._bound.server.should_exit = True
        self._thread.join(timeout=10)
        self._bound.listener.close()

    @property
    def url(self) -> str:
        """Address of the proxy, which the commands use."""
        return self.proxy.url

    @property
    def config(self) -> SimulatorConfig:
        """The present settings."""
        return self._bound.service.config

    @property
    def window_s(self) -> float:
        """Length of a simulated minute in real seconds."""
        return 60 / self.config.speed

    def change(self, **settings: object) -> SimulatorConfig:
        """Change settings of the running simulator, and return the settings before the change."""
        before = self.config
        self._bound.service.config = before.model_copy(update=settings)
        return before

    def now_s(self) -> float:
        """Return the time on the simulator's clock in seconds."""
        return self._bound.service.now_s()

    def requests(self) -> list[RequestRecord]:
        """Return the records of all requests so far."""
        return list(self._bound.service.requests)

    def ground_truth(self) -> list[GroundTruth]:
        """Return every pair that the simulator has sent."""
        return list(self._bound.service.ground_truth.values())
