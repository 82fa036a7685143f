"""Two gloo processes with half of the batch each learn what one process learns.

FSDP cannot be tested here: on a CPU it does not shard anything.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.training.conftest import QUICK, largest_difference, losses_of, manifest_of, weights

from insurance_rag.cli.main import main
from insurance_rag.core.hashing import sha256_tree
from insurance_rag.training import load_recipe, train_adapter


def test_two_processes_equal_one(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    settings = {**QUICK, "max_steps": 2, "per_device_train_batch_size": 1, "eval_steps": 50}
    result = train_adapter(load_recipe("smoke", settings), dataset, str(base_model), tmp_path / "one")
    argv = [
        "train", "--recipe", "smoke", "--dataset", str(dataset), "--base-model", str(base_model),
        "--out", str(tmp_path / "two"), *[f"--set={k}={v}" for k, v in {**settings, "gpus": 2}.items()], "--json",
    ]  # fmt: skip
    process = launch(argv)
    assert process.returncode == 0, process.stderr[-3000:]
    assert not re.search("gemm_4bit|FutureWarning", process.stderr), process.stderr
    assert json.loads(process.stdout)["sha256"] == sha256_tree(tmp_path / "two")  # printed by one process only
    plan = manifest_of(tmp_path / "two").plan
    assert plan.gradient_accumulation_steps == result.steps == 2  # 4 rows = 2 processes x 1 row x 2
    one, two = losses_of(tmp_path / "one"), losses_of(tmp_path / "two")
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-4
    assert largest_difference(weights(tmp_path / "one"), weights(tmp_path / "two")) < 1e-4


def test_invalid_input_in_the_processes_is_invalid_input_of_the_command(base_model: Path, tmp_path: Path) -> None:
    argv = ["train", "--recipe", "nowhere", "--dataset", "d", "--base-model", str(base_model), "--out", str(tmp_path)]
    process = launch(argv)
    assert process.returncode == 2
    assert "InvalidInputError: --recipe: unknown recipe 'nowhere'" in process.stderr


def test_more_gpus_than_visible_are_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["train", "--recipe", "smoke", "--dataset", "d", "--base-model", "b", "--out", str(tmp_path)]
    assert main([*argv, "--set", "gpus=64"]) == 2
    assert "gpus=64, but " in capsys.readouterr().err


def launch(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command in two processes, as on two GPUs, but on the CPU."""
    code = "import sys; from insurance_rag.training.launch import launch; sys.exit(launch(2, sys.argv[1:]))"
    env = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    return subprocess.run([sys.executable, "-c", code, *argv], env=env, capture_output=True, text=True)
