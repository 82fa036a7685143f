"""A Gemini look-alike over real HTTP: quotas a project, refused keys, faults, batches, answers drawn from the clause.

    with running_simulator(quota={"rpm": 10}, speed=20) as simulator:
        ... simulator.url, simulator.stats(), simulator.truth()

It stands where Google would in the demo, the tests and the benchmark; `python -m insurance_rag simulate` serves it.
"""

from __future__ import annotations

from gemini_simulator.server import RunningSimulator, running_simulator

__all__ = ["RunningSimulator", "running_simulator"]
