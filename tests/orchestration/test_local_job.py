"""A local GPU job ends with its worker, and concurrent jobs use different GPUs."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from insurance_rag.core.errors import IncompleteError
from insurance_rag.orchestration.gpu_job import acquire_gpu

WORKER = """
import os, sys
from insurance_rag.orchestration.gpu_job import LocalJobOperator
operator = LocalJobOperator(task_id="train", arguments=["train"])
operator._run([sys.executable, "-c", sys.argv[1]], dict(os.environ))
"""
JOB = """
import signal, sys, time
from pathlib import Path
def stop(number, frame):
    Path({stopped!r}).write_text("a checkpoint")
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
Path({started!r}).touch()
for _ in range(600):
    print("a step", flush=True)
    time.sleep(0.1)
"""
SUPERVISOR = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child when its parent is killed")
@pytest.mark.parametrize("killed", [[WORKER], [SUPERVISOR, WORKER]], ids=["worker", "supervisor"])
def test_the_job_of_a_killed_worker_gets_sigterm(tmp_path: Path, killed: list[str]) -> None:
    started, stopped = tmp_path / "started", tmp_path / "stopped"
    job = JOB.format(started=str(started), stopped=str(stopped))
    worker = subprocess.Popen([sys.executable, "-c", *killed, job])
    assert appears(started, 120)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert appears(stopped, 30)


def test_concurrent_jobs_use_different_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with acquire_gpu() as any_gpu:
        assert any_gpu == {}
    monkeypatch.setenv("GPU_DEVICES", "0, 1")
    with acquire_gpu() as one, acquire_gpu() as two:
        assert [one["CUDA_VISIBLE_DEVICES"], two["CUDA_VISIBLE_DEVICES"]] == ["0", "1"]
        with pytest.raises(IncompleteError, match="GPU_DEVICES=0,1"), acquire_gpu():
            pass
    with pytest.raises(IncompleteError, match="stopped"), acquire_gpu():  # raised by the job itself, not by acquire_gpu
        raise IncompleteError("stopped")
    with acquire_gpu() as free:
        assert free == one


def appears(path: Path, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return path.exists()
