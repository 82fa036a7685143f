"""The commands of each stage, and how to see that a stage's work is complete."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos.processes import Command
from chaos.published import is_part_complete
from insurance_rag.core.errors import PipelineError
from insurance_rag.core.hashing import sha256_file, sha256_tree
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.plan import read_plan

USUAL_SECONDS = {"validate": 4.0, "train": 14.0, "evaluate": 14.0}
"""Roughly how long the stages after the generation take with tiny settings. Schedules refer to these durations."""
IDLE_LIMIT_S = {"generate": 30.0, "validate": 120.0, "train": 240.0, "evaluate": 240.0}
"""A command that neither sends a request nor ends for this long counts as hanging."""
DEFAULT_IDLE_LIMIT_S = 120.0

_TRAIN_SETTINGS = {
    **{"max_steps": 6, "batch_size": 4, "per_device_train_batch_size": 2, "eval_steps": 3, "eval_rows": 4},
    **{"save_steps": 2, "logging_steps": 1, "max_length": 512, "quantization": "none"},
}
_EVALUATE_SETTINGS = {"decoding.max_new_tokens": 12}
_QUESTIONS = 4


@dataclass(frozen=True)
class PipelineFolders:
    """Where the stages of one campaign read and write."""

    run: RunFolder
    keys: Path
    registry: Path
    base_model: Path | None = None

    @property
    def adapter(self) -> Path:
        """Folder of the trained adapter."""
        return self.run.adapters / "smoke"


def generate_commands(folders: PipelineFolders, per_shard: bool, failed: Collection[int] = ()) -> list[Command]:
    """Return one command per shard that is incomplete or whose command `failed`, or one command for the whole run."""
    arguments = ("--run", str(folders.run.root), "--keys", str(folders.keys))
    try:
        plan = read_plan(folders.run)
    except PipelineError:  # the plan was edited, so the command is to reject it
        return [Command("generate", arguments)]
    if not per_shard:
        return [Command("generate", arguments)]
    numbers = [shard.shard for shard in plan.shards]
    again = [number for number in numbers if number in failed or not is_part_complete(folders.run, number, plan)]
    return [Command("generate", (*arguments, "--shard", str(number)), number) for number in again]


def stage_command(stage: str, folders: PipelineFolders) -> Command:
    """Return the command of a stage after the generation."""
    run = folders.run
    base = ("--base-model", str(folders.base_model))
    match stage:
        case "validate":
            return Command(stage, ("--run", str(run.root), "--out", str(run.dataset)))
        case "train":
            files = ("--recipe", "smoke", "--dataset", str(run.dataset), "--out", str(folders.adapter))
            return Command(stage, (*files, *base, *_settings(_TRAIN_SETTINGS)))
        case "evaluate":
            inputs = ("--questions", "sample", "--limit", str(_QUESTIONS), "--chunks", "sample")
            outputs = ("--adapter", f"smoke={folders.adapter}", "--out", str(run.evaluation))
            return Command(stage, (*inputs, *base, *outputs, *_settings(_EVALUATE_SETTINGS)))
        case "promote":
            return Command(stage, ("--evaluation", str(run.evaluation), "--registry", str(folders.registry)))
        case _:
            return Command(stage, ("--run", str(run.root), "--out", str(run.report)))


def is_complete(command: Command, run: RunFolder, output: str) -> bool:
    """Return whether the work of a command that ended with exit code 0 is complete.

    The file or folder that its result names must have the hash that the result states.
    """
    if command.stage == "generate":
        return _are_parts_complete(command, run)
    try:
        result = json.loads(output.strip().rsplit("\n", 1)[-1])
    except ValueError:
        return False
    if not isinstance(result, dict) or "sha256" not in result:
        return command.stage == "promote" and isinstance(result, dict)
    path = Path(str(result["uri"]))
    return path.exists() and result["sha256"] == (sha256_tree(path) if path.is_dir() else sha256_file(path))


def _are_parts_complete(command: Command, run: RunFolder, patience_s: float = 2.0) -> bool:
    """Return whether the parts are complete. Wait for parts that are being replaced because of a repair."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            plan = read_plan(run)
        except PipelineError:
            return False
        shards = [command.shard] if command.shard else [shard.shard for shard in plan.shards]
        complete = all(is_part_complete(run, shard, plan) for shard in shards)
        if complete or time.monotonic() > deadline:
            return complete
        time.sleep(0.1)


def _settings(values: Mapping[str, object]) -> list[str]:
    return [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
