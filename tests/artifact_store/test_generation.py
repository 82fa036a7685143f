"""`generate` with its run in an object store, on machines that die with their disks."""

from __future__ import annotations

import random
import re
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.artifact_store.conftest import Store
from tests.artifact_store.faulty_proxy import FaultyProxy
from tests.generation.runs import SINGLE, finished_keys, keys, planned, rows

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.core.artifact_store.mirror import Part
from insurance_rag.core.artifact_store.workspace import Workspace
from insurance_rag.core.locks import hold_lock
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.rate_limit.event_log import read_rate_limit_state

N = 24
KEYS = [key.model_copy(update={"id": f"gemini_{key.id}"}) for key in keys(2)]
VOLATILE = re.compile(r'"(?:at|key_id)": "[^"]*"')
SETTINGS: dict[str, object] = {**SINGLE, "repair": False}


def secrets(sim: RunningSimulator) -> dict[str, str]:
    named = ",".join(key.key.get_secret_value() for key in KEYS)
    return {"GEMINI_API_KEYS": named, "GEMINI_QUOTA_WINDOW_S": str(sim.window_s)}


def plan_in_store(store: Store, sim: RunningSimulator) -> None:
    run = store.path("run")
    with Workspace([Part(run)]):
        planned(run, sim, N, KEYS, **SETTINGS)


def fetched_run(store: Store) -> RunFolder:
    """Return the run as a machine sees it that had nothing to do with it."""
    with Workspace([Part(store.path("run"))]):
        return RunFolder(store.path("run"))


@pytest.mark.slow
def test_a_machine_that_dies_with_its_disk_loses_only_calls_in_flight(store: Store, tmp_path: Path) -> None:
    rng = random.Random(5)
    with running_simulator(speed=10, latency_s=1.0, quota={"rpm": 120}, defects=0) as sim:
        plan_in_store(store, sim)
        command = ("generate", "--run", store.uri("run"), "--base-url", sim.url)
        in_flight = 0
        for n in range(2):
            before = sim.stats()["distinct_answered"]
            process = store.start(f"machine-{n + 2}", *command, extra=secrets(sim))
            while sim.stats()["distinct_answered"] < before + 6 and process.poll() is None:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            process.wait()
            shutil.rmtree(store.folder / f"machine-{n + 2}")
            with store.on(f"observer-{n}"):
                in_flight += len(read_rate_limit_state(fetched_run(store).rate_limit_log).in_flight)
        store.run("machine-4", *command, extra=secrets(sim))
        stats = sim.stats()
        local, _ = planned(tmp_path / "local", sim, N, KEYS, **SETTINGS)
        store.run("machine-4", "generate", "--run", str(local.root), "--base-url", sim.url, extra=secrets(sim))
    assert stats["repeated_answers"] <= in_flight
    with store.on("observer"):
        run = fetched_run(store)
        assert len(rows(run)) == len(rows(local)) == 3 * N
        assert len(finished_keys(run)) == len(set(finished_keys(run))) == N
    store.run("machine-5", "validate", "--run", store.uri("run"), "--out", store.uri("run/dataset"))
    store.run("machine-5", "validate", "--run", str(local.root), "--out", str(local.dataset))
    with store.on("observer"):
        assert data_files(fetched_run(store).dataset) == data_files(local.dataset)


def data_files(dataset: Path) -> Mapping[str, str]:
    """Return the contents of the data files of a dataset, without the times and the keys of the calls."""
    files = [path for path in sorted(dataset.glob("*.json*")) if path.name != "report.json"]
    assert len(files) > 5
    return {path.name: VOLATILE.sub("", path.read_text()) for path in files}


@pytest.mark.slow
def test_two_machines_work_on_one_run_and_ask_nothing_twice(store: Store) -> None:
    with running_simulator(speed=10, latency_s=0.5, quota={"rpm": 200}, defects=0) as sim:
        plan_in_store(store, sim)
        command = ("generate", "--run", store.uri("run"), "--base-url", sim.url)
        workers = [store.start(f"machine-{n + 1}", *command, "--shard", str(n), extra=secrets(sim)) for n in (1, 2)]
        outputs = [worker.communicate(timeout=120)[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0], outputs
        stats = sim.stats()
    assert stats["repeated_answers"] == 0
    assert stats["chunks_answered"] == N
    with store.on("observer"):
        assert len(rows(fetched_run(store))) == 3 * N


def test_no_call_is_sent_without_the_right_to_write(store: Store, proxy: FaultyProxy) -> None:
    with running_simulator(speed=10) as sim:
        plan_in_store(store, sim)
        proxy.forbidden = {"PUT"}
        process = store.start(
            "machine-2", "generate", "--run", store.uri("run"), "--base-url", sim.url, extra=secrets(sim)
        )
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 2, output
        assert f"InvalidInputError: {store.uri('run')}" in output
        assert "need the right s3:PutObject" in output
        assert "not-a-secret" not in output and str(store.folder) not in output
        assert sim.stats()["calls"] == 0


@pytest.mark.parametrize(("uri", "message"), [
    ("s3://no-such-bucket/run", "s3://no-such-bucket: no such bucket; create it, or correct the URI"),
    ("s3://B!/run", "not a bucket name; write s3://BUCKET/FOLDER"),
    ("s3://bucket/../run", "an empty part, `.` or `..` in the key"),
])  # fmt: skip
def test_a_wrong_uri_is_an_input_error(store: Store, uri: str, message: str) -> None:
    process = store.start("machine-1", "generate", "--run", uri)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert message in output


def test_the_second_deployment_learns_about_the_first(store: Store) -> None:
    with running_simulator(speed=10) as sim:
        plan_in_store(store, sim)
        run = RunFolder(store.path("run"))
        with hold_lock(run.lock(1), "shard 1"):
            process = store.start(
                "machine-2", "generate", "--run", store.uri("run"), "--shard", "1", "--base-url", sim.url,
                extra=secrets(sim),
            )  # fmt: skip
            output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert "is in use by process" in output


def test_a_plan_is_not_replaced_while_another_machine_works_on_it(store: Store) -> None:
    with running_simulator(speed=10) as sim:
        plan_in_store(store, sim)
        with hold_lock(RunFolder(store.path("run")).lock(2), "shard 2"):
            argv = ("plan", "--chunks", "sample", "--out", store.uri("run"))
            process = store.start("machine-2", *argv, extra=secrets(sim))
            output, _ = process.communicate(timeout=60)
    assert process.returncode == 3, output
    assert f"shard_2 of {store.uri('run')} is in use by process" in output
