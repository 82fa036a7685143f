"""A killed or interrupted training resumes, and the resumed adapter equals that of an uninterrupted run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest
import torch
from tests.training.conftest import QUICK, losses_of, quick, weights

from insurance_rag.cli import main as cli
from insurance_rag.core.config_base import parse_settings
from insurance_rag.training import train_adapter
from insurance_rag.training.signals import stop_on_signals

DORA_WITH_NOISE = {
    "lora.use_dora": "true", "lora.use_rslora": "true", "lora.target_modules": "v_proj,down_proj",
    "neftune_noise_alpha": "5", "padding_free": "false",
}  # fmt: skip


def start_training(base_model: Path, dataset: Path, out: Path, **settings: object) -> ForkProcess:
    """Run `insurance-rag train` in a forked process, which need not import torch again."""
    sets = [f"--set={k}={v}" for k, v in {**QUICK, "lora.dropout": 0.1, **settings}.items()]
    paths = ["--dataset", str(dataset), "--base-model", str(base_model), "--out", str(out)]

    def body() -> None:
        with out.with_suffix(".err").open("w") as errors:
            os.dup2(errors.fileno(), 2)
            sys.stderr = errors
            code = cli.main(["train", "--recipe", "smoke", *paths, *sets])
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    return process


def wait_for(out: Path, pattern: str, process: ForkProcess) -> None:
    """Wait until a file that matches `pattern` exists in `out`."""
    deadline = time.monotonic() + 120
    while not list(out.glob(pattern)):
        assert process.is_alive() and time.monotonic() < deadline, out.with_suffix(".err").read_text()
        time.sleep(0.01)


@pytest.mark.parametrize("settings", [{}, DORA_WITH_NOISE], ids=["lora", "dora with noise"])
def test_killed_run_resumes_to_equal_weights(
    settings: dict[str, str], straight: Path, base_model: Path, dataset: Path, tmp_path: Path
) -> None:
    """Kill the process after its first checkpoint; the resumed adapter is bit-equal to the uninterrupted one."""
    out = tmp_path / "killed"
    recipe = quick(**parse_settings(f"{key}={value}" for key, value in {"lora.dropout": 0.1, **settings}.items()))
    if settings:
        straight = tmp_path / "straight"
        train_adapter(recipe, dataset, str(base_model), straight)
    process = start_training(base_model, dataset, out, **settings)
    wait_for(out, "checkpoints/*/checkpoint-2/complete.json", process)
    process.kill()
    process.join()
    assert not (out / "training.json").exists()
    incomplete = next(out.glob("checkpoints/*")) / "checkpoint-3"  # as if the process was killed while it wrote it
    incomplete.mkdir()
    (incomplete / "adapter_model.safetensors").write_bytes(b"incomplete")
    result = train_adapter(recipe, dataset, str(base_model), out)
    assert result.steps == 4
    expected, resumed = weights(straight), weights(out)
    assert expected.keys() == resumed.keys() and all(torch.equal(expected[k], resumed[k]) for k in expected)
    assert losses_of(out) == losses_of(straight)


def test_sigterm_saves_a_checkpoint_and_exits_3(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "interrupted"
    process = start_training(base_model, dataset, out, save_steps=1, max_steps=2000)
    wait_for(out, "checkpoints/*/checkpoint-1/complete.json", process)
    process.terminate()
    process.join(120)
    assert process.exitcode == 3
    assert "run the same command to resume from this step" in out.with_suffix(".err").read_text()
    steps = [int(path.parent.name.split("-")[1]) for path in out.glob("checkpoints/*/*/complete.json")]
    assert steps and max(steps) < 2000


def test_signals_outside_the_main_thread_are_left_alone() -> None:
    def body() -> None:
        with stop_on_signals() as stop:
            assert not stop.is_set()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
