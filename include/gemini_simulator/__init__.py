"""A test server that imitates the Gemini API over HTTP, including project quotas, rejected keys, faults and batches.

    with running_simulator(quota={"rpm": 10}, speed=20) as simulator:
        ...  # simulator.url, simulator.stats(), simulator.ground_truth()

The demo, the tests and the benchmarks use this server instead of Google's servers.
The command `python -m insurance_rag simulate` starts the server.
"""

from __future__ import annotations

from gemini_simulator.server import RunningSimulator, running_simulator

__all__ = ["RunningSimulator", "running_simulator"]
