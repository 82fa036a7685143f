"""A trainer callback that reports progress, saves the loss history and marks complete checkpoints.

This module imports torch and transformers at import time, so import it inside the function that trains.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import LossRow
from insurance_rag.models.devices import peak_memory_gib

#: The last file written to a checkpoint folder. A folder without it holds an incomplete checkpoint.
COMPLETE_MARKER = "complete.json"

#: TRL's names of metrics -> their names in `LossRow`.
_FIELD_NAMES = {
    "rewards/accuracies": "rewards_accuracy",
    "rewards/margins": "rewards_margin",
    "eval_rewards/accuracies": "eval_rewards_accuracy",
    "eval_rewards/margins": "eval_rewards_margin",
}


class TrainingMonitor(TrainerCallback):
    """Reports progress, writes loss_history.jsonl, marks complete checkpoints, and stops the run on request."""

    def __init__(self, progress: Progress, history: Path, stop: threading.Event) -> None:
        """`history` is the loss history file. If `stop` is set, the run saves a checkpoint and ends after the step."""
        self.progress, self.history, self.stop = progress, history, stop
        self.seconds = 0.0
        self.tokens = 0
        self._step_started = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Show the total number of steps, and how many of them a resumed run has already done."""
        self.progress.total, self.progress.done = state.max_steps, state.global_step

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Start timing the step."""
        self._step_started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Count the step. If any process has been asked to stop, save a checkpoint and end the run."""
        self.seconds += time.monotonic() - self._step_started
        self.progress.advance()
        if _on_any_process(self.stop.is_set()):
            self.stop.set()
            control.should_save = control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        """Write the loss history, and add loss, throughput and memory use to the progress."""
        if not state.is_world_process_zero or not logs:
            return
        self.tokens = int(logs.get("num_tokens", self.tokens))
        figures = {k: round(float(logs[k]), 4) for k in ("loss", "eval_loss", "eval_decision_accuracy") if k in logs}
        self.progress.note(**figures, tokens_per_s=self.tokens_per_s, gib=peak_memory_gib())
        rows = loss_history(state.log_history)
        write_jsonl(self.history, (row.model_dump(exclude_none=True) for row in rows))

    @property
    def tokens_per_s(self) -> int:
        """Training throughput in tokens per second. Padding, evaluation and saving are not counted."""
        return round(self.tokens / self.seconds) if self.seconds else 0

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Mark the new checkpoint as complete."""
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(checkpoint / COMPLETE_MARKER, {"step": state.global_step})


def _on_any_process(flag: bool) -> bool:
    """Return whether `flag` is true in any training process.

    All processes get the same result, so that they stop after the same step.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return flag
    device = "cuda" if torch.cuda.is_available() else "cpu"
    flags = torch.tensor([int(flag)], device=device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
    return bool(flags.item())


def loss_history(log_history: Sequence[Mapping[str, float]]) -> list[LossRow]:
    """Return one row for each step at which the training loss or the held-out loss (or both) was logged."""
    rows: dict[int, dict[str, float]] = {}
    for entry in log_history:
        if "loss" in entry or "eval_loss" in entry:
            step = int(entry["step"])
            row = rows.setdefault(step, {"step": step})
            named = {_FIELD_NAMES.get(key, key): value for key, value in entry.items()}
            row.update({k: named[k] for k in LossRow.model_fields if k in named and k not in row})
    return [LossRow.model_validate(rows[step]) for step in sorted(rows)]


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint in `folder`, or None if there is none."""
    complete = [marker.parent for marker in folder.glob(f"checkpoint-*/{COMPLETE_MARKER}")]
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
