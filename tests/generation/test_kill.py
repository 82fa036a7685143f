"""kill -9 at random moments, then the same command: no chunk is lost or written twice, few calls are repeated."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.generation.runs import chunks, finished_keys, first_answers, journal_records, keys, planned, rows

from gemini_simulator import running_simulator
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning import read_plan
from insurance_rag.rate_limit.event_log import read_rate_limit_state

FAULTS = {"503": 0.02, "500": 0.01, "drop": 0.015, "malformed": 0.02, "max_tokens": 0.01, "blocked": 0.005}


def start(run: Path, url: str, window_s: float) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "GEMINI_API_KEYS": ",".join(key.key.get_secret_value() for key in keys(3)),
        "GEMINI_QUOTA_WINDOW_S": str(window_s),
    }
    argv = [sys.executable, "-m", "insurance_rag", "generate", "--run", str(run), "--base-url", url]
    return subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.parametrize("chunks_per_call", [pytest.param(1, marks=pytest.mark.long), "auto"])
def test_killed_again_and_again(tmp_path: Path, chunks_per_call: int | str) -> None:
    named = [key.model_copy(update={"id": f"gemini_{key.id}"}) for key in keys(3)]
    rng, kills, in_flight = random.Random(4), 3, 0  # `in_flight` counts chunks
    with running_simulator(speed=10, latency_s=1.5, quota={"rpm": 60}, faults=FAULTS, defects=0.3) as sim:
        run, config = planned(tmp_path, sim, 90, named, chunks_per_call=chunks_per_call)
        for _ in range(kills):
            worker = start(run.root, sim.url, sim.window_s)
            before = sim.stats()["calls"]
            while sim.stats()["calls"] == before and worker.poll() is None:
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 0.4))
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            sent = read_rate_limit_state(run.rate_limit_log).in_flight.values()  # calls without a recorded end
            in_flight += sum(call.chunks for call in sent)
        time.sleep(0.2)
        last = start(run.root, sim.url, sim.window_s)
        assert last.wait(timeout=60) == 0
        stats = sim.stats()
    assert sorted({row.chunk_id for row in rows(run)} | quarantined(run)) == [c.chunk_id for c in chunks(90)]
    assert set(first_answers(run).values()) == {1}
    assert len(finished_keys(run)) == len(set(finished_keys(run))) == 90
    assert stats["repeated_answers"] <= in_flight  # repairs included
    repairable = [record["cache_key"] for record in journal_records(run) if record["state"] == "repairable"]
    assert len(repairable) == len(set(repairable)) == sum("repair" in record for record in journal_records(run)) > 20
    assert 0 < stats["corrections"] < len(repairable)  # one request repairs several chunks
    assert stats["refused_429"] <= 6 * (kills + 1)
    assert config.model == read_plan(run).config.model


def quarantined(run: RunFolder) -> set[str]:
    return {str(record["chunk_id"]) for record in journal_records(run) if record["state"] == "quarantined"}
