"""Two gloo processes with half the batch each learn what one process learns.

FSDP cannot be tested here: on a CPU it is silently plain data parallelism (trap 9).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tests.training.conftest import QUICK

from insurance_rag.cli.main import main
from insurance_rag.core.hashing import sha256_tree
from insurance_rag.training import load_recipe, train_adapter


def test_two_processes_equal_one(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    settings = {**QUICK, "max_steps": 2, "micro_batch": 1, "eval_every": 50, "max_length": 512}
    one = train_adapter(load_recipe("smoke", settings), dataset, str(base_model), tmp_path / "one")
    argv = [
        "train", "--recipe", "smoke", "--dataset", str(dataset), "--base-model", str(base_model),
        "--out", str(tmp_path / "two"), *[f"--set={k}={v}" for k, v in {**settings, "gpus": 2}.items()], "--json",
    ]  # fmt: skip
    done = launch(argv)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["sha256"] == sha256_tree(tmp_path / "two")  # printed once
    two = json.loads((tmp_path / "two" / "training.json").read_text())
    assert two["plan"]["accumulation"] == one["steps"] == 2  # 4 rows = 2 processes x 1 row x 2
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "loss_history.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) < 1e-4
    a, b = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert max(float((a[k] - b[k]).abs().max()) for k in a) < 1e-4


def test_wrong_input_of_the_processes_is_wrong_input_of_the_command(base_model: Path, tmp_path: Path) -> None:
    done = launch(
        ["train", "--recipe", "smoke", "--dataset", "nowhere", "--base-model", str(base_model), "--out", str(tmp_path)]
    )
    assert done.returncode == 2
    assert "InvalidInputError: nowhere" in done.stderr


def test_more_gpus_than_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--recipe", "smoke", "--dataset", "d", "--base-model", "b", "--out", str(tmp_path)]
    assert main([*argv, "--set", "gpus=64"]) == 2
    assert "gpus=64, but " in capsys.readouterr().err


def launch(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """As the command does on several GPUs, but on the CPU."""
    code = "import sys; from insurance_rag.training.launch import launch; sys.exit(launch(2, sys.argv[1:]))"
    env = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    return subprocess.run([sys.executable, "-c", code, *argv], env=env, capture_output=True, text=True)
