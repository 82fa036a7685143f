"""Faults around a real process: a full disk, SIGSTOP, a system clock that is set, a second process on the same run."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.generation.processes import start_generate, wait_for_answers
from tests.generation.runs import chunks, first_answers, keys, planned

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.cli.main import main
from insurance_rag.core.records import ApiKey
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning import missing_chunks
from insurance_rag.rate_limit.event_log import read_rate_limit_state

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def named_keys(n: int) -> list[ApiKey]:
    """Return keys with the ids of keys from the environment."""
    return [key.model_copy(update={"id": f"gemini_{key.id}"}) for key in keys(n)]


def use_simulator(monkeypatch: pytest.MonkeyPatch, sim: RunningSimulator, with_keys: list[ApiKey]) -> None:
    """Set the environment for commands in this process."""
    monkeypatch.setenv("GEMINI_BASE_URL", sim.url)
    monkeypatch.setenv("GEMINI_API_KEYS", ",".join(key.key.get_secret_value() for key in with_keys))
    monkeypatch.setenv("GEMINI_QUOTA_WINDOW_S", str(sim.window_s))


def check_complete(run: RunFolder, n: int) -> None:
    assert missing_chunks(run) == {}
    assert {chunk_id for chunk_id, _ in first_answers(run)} == {chunk.chunk_id for chunk in chunks(n)}
    assert set(first_answers(run).values()) == {1}


# ---- full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 900 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path, worker: subprocess.Popen[str]) -> None:
    """Write to a file until `worker` has ended. On a full disk, the file takes what others free."""
    with path.open("wb", buffering=0) as f:
        while worker.poll() is None:
            try:
                f.write(b"x" * 512)
            except OSError:
                time.sleep(0.01)


def test_a_full_disk_is_one_clear_message_and_the_run_resumes(small_disk: Path) -> None:
    with running_simulator(speed=60, latency_s=6.0, quota={"rpm": 1000}, defects=0) as sim:
        run, _ = planned(small_disk / "run", sim, 60, named_keys(2), chunks_per_call=1)
        worker = start_generate(run.root, sim, keys(2))
        wait_for_answers(sim, 5)
        fill(small_disk / "ballast", worker)
        message = worker.communicate(timeout=60)[1]
        assert worker.returncode == 3, message
        assert "Traceback" not in message
        assert "cannot be written (No space left on device); free space" in message
        lost = sum(call.chunks for call in read_rate_limit_state(run.rate_limit_log).in_flight.values())
        (small_disk / "ballast").unlink()
        again = start_generate(run.root, sim, keys(2))
        message = again.communicate(timeout=60)[1]
        assert again.returncode == 0, message
        check_complete(run, 60)
        assert sim.stats()["repeated_answers"] <= lost


@pytest.mark.parametrize("limit", [3_000, 12_000])
def test_files_that_may_not_grow_are_named(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernel refuses writes beyond `limit` bytes per file, as some file systems and quotas do."""
    with running_simulator(speed=600, latency_s=1.0, defects=0) as sim:
        run, _ = planned(tmp_path / "run", sim, 20, named_keys(1), chunks_per_call=1)
        use_simulator(monkeypatch, sim, keys(1))
        allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, allowed[1]))
        try:
            exit_code = main(["generate", "--run", str(run.root)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
        message = capsys.readouterr().err
        assert exit_code == 3 and "Traceback" not in message
        assert re.search(r"cannot be written \((File too large|No space left on device)\); free space", message)
        assert main(["generate", "--run", str(run.root)]) == 0
        check_complete(run, 20)


# ---- stopped process


def test_answers_that_arrive_while_the_process_is_stopped_are_used(tmp_path: Path) -> None:
    """SIGSTOP for longer than the timeout of a call: the answers wait in the sockets and need not be paid again."""
    with running_simulator(speed=60, latency_s=30.0, quota={"rpm": 1000}, defects=0) as sim:
        run, config = planned(tmp_path / "run", sim, 150, named_keys(2), chunks_per_call=1, timeout_s=2.0)
        worker = start_generate(run.root, sim, keys(2))
        in_flight = []
        for answers in (10, 50):
            wait_for_answers(sim, answers)
            worker.send_signal(signal.SIGSTOP)
            in_flight.append(len(read_rate_limit_state(run.rate_limit_log).in_flight))
            time.sleep(1.5 * config.timeout_s)
            worker.send_signal(signal.SIGCONT)
        message = worker.communicate(timeout=60)[1]
        assert worker.returncode == 0, message
        check_complete(run, 150)
        assert max(in_flight) > 4
        assert sim.stats()["repeated_answers"] <= 1


# ---- system clock


@pytest.mark.slow
@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed (apt-get install faketime)")
def test_a_system_clock_that_is_set_neither_hangs_a_run_nor_makes_a_storm(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    fake = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "NO_FAKE_STAT": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    keys_file = tmp_path / "keys.json"
    keys_file.write_text('[{"id": "k1", "key": "secret-1", "rpm": 15}]')  # a search for the quota would cost refusals
    with running_simulator(speed=30, latency_s=1.0, quota={"rpm": 15}, defects=0) as sim:
        run, _ = planned(tmp_path / "run", sim, 45, keys(1, rpm=15), chunks_per_call=1)
        worker = start_generate(run.root, sim, keys(1), "--keys", str(keys_file), extra=fake)
        wait_for_answers(sim, 5)
        refused = sim.stats()["refused_429"]
        clock.write_text("+7200")
        wait_for_answers(sim, 20)
        clock.write_text("-7200")
        message = worker.communicate(timeout=60)[1]
        assert worker.returncode == 0, message
        check_complete(run, 45)
        assert sim.stats()["repeated_answers"] == 0
        assert sim.stats()["refused_429"] - refused <= 10  # a storm would fill a whole window or more


# ---- two deployments on one folder


def test_a_second_deployment_on_the_same_run_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The work of the first process is neither repeated nor damaged, whatever command the second one runs."""
    monkeypatch.setattr("insurance_rag.planning.plan.SHARD_WAIT_S", 0.2)
    monkeypatch.setattr("insurance_rag.generation.shard.LOCK_WAIT_S", 0.2)
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text("\n".join(chunk.model_dump_json() for chunk in chunks(9)))
    folder = str(tmp_path / "run")
    commands = [
        ["generate", "--run", folder],
        ["generate", "--run", folder, "--model", "gemini-2.5-pro"],
        ["plan", "--out", folder, "--chunks", str(fewer)],
    ]
    with running_simulator(speed=30, latency_s=2.0, quota={"rpm": 60}, defects=0) as sim:
        run, _ = planned(tmp_path / "run", sim, 40, named_keys(2), chunks_per_call=1)
        use_simulator(monkeypatch, sim, keys(2))
        first = start_generate(run.root, sim, keys(2))
        wait_for_answers(sim, 1)
        first.send_signal(signal.SIGSTOP)
        plan = run.plan.read_bytes()
        for command in commands:
            assert main(command) == 3
            assert f'is in use by {{"pid": {first.pid}' in capsys.readouterr().err
        assert run.plan.read_bytes() == plan
        first.send_signal(signal.SIGCONT)
        assert first.communicate(timeout=60) and first.returncode == 0
        check_complete(run, 40)
        assert sim.stats()["repeated_answers"] == 0
        assert main(commands[-1]) == 0  # now nobody follows the earlier plan
