"""What a run shows while it goes, and how it is stopped: progress, loss_history.jsonl, signals.

This module imports torch and transformers when it is imported; import it inside the function that trains.
"""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.progress import Progress
from insurance_rag.training.memory import GIB

#: Last file of a checkpoint: one without it was cut off while it was written.
COMPLETE = "complete.json"
KEPT = ("step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm", "num_tokens", "mean_token_accuracy")


class Watch(TrainerCallback):
    """Feeds the progress and loss_history.jsonl, marks finished checkpoints, and saves and stops when asked to."""

    def __init__(self, progress: Progress, history: Path, stop: threading.Event) -> None:
        self.progress, self.history, self.stop = progress, history, stop
        self.seconds = 0.0
        self.tokens = 0
        self._step_began = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress.total, self.progress.done = state.max_steps, state.global_step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._step_began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.seconds += time.monotonic() - self._step_began
        self.progress.advance()
        if _any_process(self.stop.is_set()):
            self.stop.set()
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        self.tokens = logs.get("num_tokens", self.tokens)
        figures = {k: round(float(logs[k]), 4) for k in ("loss", "eval_loss") if k in logs}
        self.progress.note(**figures, tokens_per_s=self.tokens_per_s, gib=peak_gib())
        write_jsonl(self.history, history_rows(state.log_history))

    @property
    def tokens_per_s(self) -> int:
        """Non-padding tokens a second of the optimizer steps of this process's life, evaluation and saving left out."""
        return round(self.tokens / self.seconds) if self.seconds else 0

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(folder / COMPLETE, {"step": state.global_step})


def _any_process(flag: bool) -> bool:
    """Whether any process of the training raised its flag: they have to stop after the same step."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return flag
    device = "cuda" if torch.cuda.is_available() else "cpu"
    flags = torch.tensor([int(flag)], device=device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
    return bool(flags.item())


def peak_gib() -> float:
    """Peak of the GPU's allocator, or of this process's memory on a CPU."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / GIB, 2)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def history_rows(log_history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a step: the training figures and, where it was measured, the held-out loss."""
    rows: dict[int, dict[str, Any]] = {}
    for entry in log_history:
        if "loss" in entry or "eval_loss" in entry:
            row = rows.setdefault(entry["step"], {"step": entry["step"]})
            row.update({k: entry[k] for k in KEPT if k in entry and k not in row})
    return [rows[step] for step in sorted(rows)]


def latest_checkpoint(work: Path) -> Path | None:
    """The newest checkpoint that was written to its end."""
    finished = [p.parent for p in work.glob(f"checkpoint-*/{COMPLETE}")]
    return max(finished, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set. Only the main thread can listen.

    A second SIGINT acts as always, a second SIGTERM does nothing: a task that is cleared sends several, and its
    checkpoint is being written."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, previous[signal.SIGINT])

    for s in previous:
        signal.signal(s, ask)
    try:
        yield stop
    finally:
        for s, handler in previous.items():
            signal.signal(s, handler)
