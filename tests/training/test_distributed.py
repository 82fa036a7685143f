"""Two gloo processes with half the batch each learn what one process learns.

FSDP cannot be tested here: on a CPU it is silently plain data parallelism (trap 9).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file
from tests.training.conftest import QUICK

from insurance_rag.training import load_recipe, train_adapter


def test_two_processes_equal_one(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    settings = {**QUICK, "max_steps": 2, "micro_batch": 1, "eval_every": 50, "max_length": 512}
    one = train_adapter(load_recipe("smoke", settings), dataset, str(base_model), tmp_path / "one")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}",
        "-m", "insurance_rag", "train", "--recipe", "smoke", "--dataset", str(dataset),
        "--base-model", str(base_model), "--out", str(tmp_path / "two"),
        *[f"--set={k}={v}" for k, v in settings.items()],
    ]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "ACCELERATE_USE_CPU": "true"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    two = json.loads((tmp_path / "two" / "training.json").read_text())
    assert two["plan"]["accumulation"] == one["steps"] == 2  # 4 rows = 2 processes x 1 row x 2
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "loss_history.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) < 1e-4
    a, b = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert max(float((a[k] - b[k]).abs().max()) for k in a) < 1e-4
