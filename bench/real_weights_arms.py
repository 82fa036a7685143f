"""Compare training recipes on real weights: several arms, several seeds each.

An arm is a dataset and a recipe. All adapters are trained side by side, and every adapter answers the same questions in
its own prompt format, with the gold chunks and with retrieved chunks.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter

from insurance_rag.core.adapter_folder import AdapterFolder, seed_name
from insurance_rag.core.files import read_json

SETTINGS: dict[str, JsonValue] = {
    "quantization": "none", "batch_size": 16, "per_device_train_batch_size": 16, "max_steps": None,
    "num_train_epochs": 4, "learning_rate": 5e-4, "lr_scheduler_type": "cosine", "warmup_steps": 0.05,
    "lora": {"target_modules": "all-linear", "r": 64, "alpha": 128}, "max_length": 1280, "logging_steps": 5,
    "eval_steps": None, "eval_rows": 128, "save_steps": 1000, "report_to": [],
}  # fmt: skip
"""Settings of all arms. The base model is so small that 4-bit quantization is not worth the loss of precision. The
datasets are small enough for several epochs, and a small model needs a higher learning rate than one with 8 billion
parameters."""


@dataclass(frozen=True)
class Arm:
    """What the adapters of an arm are trained on, and how."""

    dataset: str
    """Folder in `inputs`/datasets (see `DATASETS` in bench/real_weights_inputs.py)."""
    recipe: str = "v2"
    settings: dict[str, JsonValue] = field(default_factory=dict)
    """Settings that override SETTINGS."""
    init_from: str | None = None
    """Arm whose adapter with the same seed this arm starts with."""


BARE: dict[str, JsonValue] = {"prompt_format": "rag_bare"}
FORMER: dict[str, JsonValue] = {
    "lora": {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"], "r": 16, "alpha": 32},
    "lr_scheduler_type": "linear",
}
"""The training settings before the comparison."""
TWO_EPOCHS: dict[str, JsonValue] = {"num_train_epochs": 2, "learning_rate": 3e-4}
ARMS = {
    "made27": Arm("made", settings=TWO_EPOCHS),
    "wide": Arm("mixed", settings=TWO_EPOCHS),
    "capped": Arm("capped", settings=TWO_EPOCHS),
    "both": Arm("both", settings={"num_train_epochs": 3}),
    "refusals": Arm("refusals", settings={"num_train_epochs": 3}),
    "natural": Arm("natural", settings=BARE),
    "now": Arm("now", settings={**BARE, **FORMER}),
    "preference": Arm(
        "both3", "v4", {"max_steps": 100, "per_device_train_batch_size": 8, "learning_rate": 5e-5}, init_from="capped"
    ),
}
"""Longest training first. A pair has three contexts in `made`, `mixed` and `capped`, and two in `both` and `refusals`,
so that every pair is shown six times."""
FIRST_SEED = 42


def read_arms(path: Path | None) -> dict[str, Arm]:
    """Return ARMS, or the arms in a JSON file: {name: {"dataset": ..., "recipe"?: ..., "settings"?: {...}}}."""
    return ARMS if path is None else TypeAdapter(dict[str, Arm]).validate_python(read_json(path))


def adapter_names(arms: Sequence[str], seeds: int) -> dict[str, tuple[str, int]]:
    """Return the name of every adapter, e.g. `both-s42`, with its arm and its seed."""
    numbers = range(FIRST_SEED, FIRST_SEED + seeds)
    return {seed_name(arm, seed): (arm, seed) for arm in arms for seed in numbers}


def train_one(arm_name: str, arm: Arm, seed: int, inputs: Path, base: Path, out: Path, steps: int) -> None:
    """Train one adapter with the pipeline's trainer. `steps` limits the run, to test the script; 0 is no limit."""
    from insurance_rag.training import load_recipe, train_adapter

    logging.basicConfig(level=logging.INFO)
    settings: dict[str, JsonValue] = {**SETTINGS, **arm.settings, "seed": seed}
    if steps:
        settings |= {"max_steps": steps, "eval_steps": steps, "logging_steps": 1, "eval_rows": 4}
        settings |= {"batch_size": 2, "per_device_train_batch_size": 2}
    if arm.init_from:
        settings["init_adapter"] = str(out.with_name(seed_name(arm.init_from, seed)))
    recipe = load_recipe(arm.recipe, settings)
    train_adapter(recipe, inputs / "datasets" / arm.dataset, str(base), out, recipe_name=arm_name)


def train_adapters(
    arms: Mapping[str, Arm], seeds: int, command: Sequence[object], work: Path, parallel: int, deadline_s: float
) -> dict[str, dict[str, Any]]:
    """Train all adapters, `parallel` at a time, each in a process of its own. Return the finished ones' manifests.

    One training run of such a small model leaves most of the GPU idle. `command` runs one training; the arm, the seed
    and the folder are added to it. Processes that run after `deadline_s` seconds are stopped.
    """
    started = time.monotonic()
    waiting, running = adapter_names(list(arms), seeds), dict[str, subprocess.Popen[bytes]]()
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // parallel))}
    while waiting or running:
        ready = (name for name, (arm, seed) in waiting.items() if _can_start(arms[arm], seed, work))
        while len(running) < parallel and (name := next(ready, None)):
            arm, seed = waiting[name]
            argv = [*command, "--arm", arm, "--seed", seed, "--out", work / name]
            with (work / f"{name}.log").open("ab") as log:
                running[name] = subprocess.Popen(
                    [*map(str, argv)], stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **threads}
                )
        waiting = {name: value for name, value in waiting.items() if name not in running}
        if not running:
            break  # what is left waits for an adapter whose training failed
        time.sleep(0.2)
        for name in [name for name, process in running.items() if process.poll() is not None]:
            _report(name, running.pop(name).returncode, work, time.monotonic() - started)
        if time.monotonic() - started > deadline_s:
            for process in running.values():
                process.kill()
            break
    return manifests(list(arms), seeds, work)


def _can_start(arm: Arm, seed: int, work: Path) -> bool:
    """Return whether the adapter that this arm starts with is finished."""
    return arm.init_from is None or AdapterFolder(work / seed_name(arm.init_from, seed)).manifest.is_file()


def manifests(arms: Sequence[str], seeds: int, work: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest of every finished adapter, with its loss history."""
    found = {}
    for name in adapter_names(arms, seeds):
        folder = AdapterFolder(work / name)
        if (manifest := folder.read_manifest()) is not None:
            history = [row.model_dump(mode="json", exclude_none=True) for row in folder.read_loss_history()]
            found[name] = {**manifest.model_dump(mode="json"), "loss_history": history}
    return found


def _report(name: str, code: int, work: Path, seconds: float) -> None:
    manifest = AdapterFolder(work / name).read_manifest() if code == 0 else None
    if manifest is None:
        print(f"[{seconds:5.0f} s] {name}: exit {code}\n" + (work / f"{name}.log").read_text()[-1500:], flush=True)
        return
    figures = manifest.model_dump(include={"steps", "loss", "eval_loss", "tokens_per_s", "peak_gib", "seconds"})
    print(f"[{seconds:5.0f} s] {name}: {figures}", flush=True)


def training_command(inputs: Path, base: Path, arms_file: Path | None, steps: int) -> list[object]:
    """Return the command that `train_adapters` completes."""
    command: list[object] = [sys.executable, "-m", "bench.real_weights", "arm", "--inputs", inputs, "--base", base]
    return [*command, "--steps", steps, *(["--arms-file", arms_file] if arms_file else [])]
