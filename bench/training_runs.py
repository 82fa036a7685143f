"""Measure one configuration of the training benchmark in a worker process."""

from __future__ import annotations

import logging
import os
import random
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from bench.training_configurations import Run
from bench.training_weights import EPOCHS, ROWS, make_rows
from insurance_rag.training.encoding import EncodedPair, EncodedRow

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

MEASURED_ROWS = 1600
"""Number of rows in the measured dataset. The table extrapolates the results to a full dataset."""


class Result(BaseModel):
    """The measurements of one configuration, or the error that prevented them."""

    error: str | None = None
    tokens_per_s: int = 0
    """Mean over the measured steps, without padding tokens."""
    tokens_per_s_median_step: int = 0
    step_s: float = 0.0
    """Median duration of the measured steps in seconds."""
    steps: int = 0
    peak_gib: float = 0.0
    """Peak GPU memory. Includes an extra step with the largest micro-batch of a full training run (estimated)."""
    peak_gib_of_the_steps: float = 0.0
    """Peak GPU memory of the measured steps only."""
    estimate_gib: float | None = None
    """Peak memory that the pipeline's memory plan predicted; None for plain TRL."""
    start_s: float = 0.0
    """How much longer the first step took than the median step, e.g. to compile the layers."""
    loss: float = 0.0
    """Mean loss over all steps. Configurations with the same rows and steps have nearly the same loss."""
    layout: str = ""
    warnings: list[str] = []
    """Warnings of the product, e.g. that the layers cannot be compiled."""
    wall_s: float = 0.0
    minutes: float | None = None
    """Extrapolated duration of three epochs over all rows."""
    mfu: float | None = None
    """Model FLOPs utilization: computed FLOP/s relative to the peak in the GPU's datasheet."""


def run_worker(run: Run, weights: Path, profile: Path | None, *, tiny: bool) -> None:
    """Measure a configuration, print its result and end the process. The profile goes to the file `profile`.

    Imports the libraries first and then waits for a line on stdin. The imports can therefore run while another
    configuration is being measured. A worker that uses several GPUs does not wait.
    """
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    import insurance_rag.training.trainer  # noqa: F401

    rows = make_rows(tiny=tiny, n=600 if tiny else MEASURED_ROWS)
    if "RANK" not in os.environ:
        sys.stdin.readline()
    started, warnings = time.monotonic(), collect_warnings()
    try:
        result = measure(run, weights, rows, profile)
    except Exception as e:  # noqa: BLE001  the table also shows failed configurations
        traceback.print_exc()
        result = Result(error=f"{type(e).__name__}: {str(e)[:300]}")
    result.wall_s = round(time.monotonic() - started, 1)
    result.warnings = warnings
    if os.environ.get("RANK", "0") == "0":
        print("RESULT " + result.model_dump_json(), flush=True)
    os._exit(0)  # a normal exit would take seconds to shut CUDA down


def measure(run: Run, weights: Path, rows: list[EncodedRow], profile: Path | None) -> Result:
    """Train for `run.warmup` + `run.steps` optimizer steps and return the measurements."""
    import torch
    from transformers import AutoTokenizer

    from bench.training_build import build_plain_trl, build_product

    ends = StepEnds([], [])
    tokenizer, n_steps = AutoTokenizer.from_pretrained(weights), run.warmup + run.steps
    with tempfile.TemporaryDirectory() as work:
        build = build_plain_trl if run.plain_trl else build_product
        largest = longest_pairs if run.recipe == "v4" else largest_micro_batch
        trainer, facts = build(run, weights, rows, n_steps, tokenizer, Path(work))
        trainer.add_callback(step_timer(trainer, ends, {1, run.warmup, n_steps}))
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        loss = trainer.train().training_loss
        peak_of_the_steps = gpu_peak_gib()
        if not run.plain_trl:  # the measured steps may lack the largest micro-batch of a full training run
            step_on(trainer, largest(list(trainer.train_dataset), trainer.args.per_device_train_batch_size))
        facts.peak_gib = gpu_peak_gib()
        if profile and not run.plain_trl:
            profile.write_text(profile_step(trainer), encoding="utf-8")
    seconds = differences(ends.seconds, run.warmup)
    tokens = differences(ends.tokens, run.warmup)
    median_s = statistics.median(seconds)
    return facts.model_copy(
        update={
            "tokens_per_s": round(sum(tokens) / sum(seconds)),
            "tokens_per_s_median_step": round(statistics.median(t / s for t, s in zip(tokens, seconds, strict=True))),
            "step_s": round(median_s, 3),
            "start_s": round(ends.seconds[0] - started - median_s, 1),
            "steps": len(seconds),
            "peak_gib_of_the_steps": peak_of_the_steps,
            "loss": round(loss, 4),
        }
    )


def step_on(trainer: Trainer, rows: Sequence[EncodedRow] | Sequence[EncodedPair]) -> None:
    """Compute the gradients for one micro-batch."""
    import torch

    trainer.training_step(trainer.model, trainer.data_collator(rows), torch.tensor(1000))


def profile_step(trainer: Trainer) -> str:
    """Return a table of the operators that take most of the GPU's time in one micro-batch of the first rows."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    rows = [trainer.train_dataset[i] for i in range(trainer.args.per_device_train_batch_size)]
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * torch.cuda.is_available()]
    with profile(activities=activities) as profiler:
        started = time.perf_counter()
        step_on(trainer, rows)
        host_s = time.perf_counter() - started
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        total_s = time.perf_counter() - started
    order = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=order, row_limit=40, max_name_column_width=90)
    return f"host {host_s:.3f} s, with GPU {total_s:.3f} s\n{table}\n"


def collect_warnings() -> list[str]:
    """Return a list to which the product's warnings are added from now on."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logging.getLogger("insurance_rag").addHandler(Collector(logging.WARNING))
    return messages


def differences(values: Sequence[float], warmup: int) -> list[float]:
    """Return how much the value grew in each step after the warm-up. `values` holds one value per step."""
    return [after - before for before, after in zip(values[warmup - 1 :], values[warmup:], strict=False)]


def gpu_peak_gib() -> float:
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else 0.0


def largest_micro_batch(rows: list[EncodedRow], size: int, batch_size: int = 16) -> list[EncodedRow]:
    """Return the micro-batch with the most tokens that a full training run is likely to contain.

    Draws random optimizer batches of `batch_size` rows, as many as there are in three epochs. Splits each batch into
    balanced micro-batches of `size` rows.
    """
    from insurance_rag.training.sampler import balance_micro_batches

    rng, lengths = random.Random(1), [len(row["input_ids"]) for row in rows]
    batches = (rng.sample(range(len(rows)), batch_size) for _ in range(ROWS * EPOCHS // batch_size))
    balanced = (balance_micro_batches(batch, lengths, size) for batch in batches)
    groups = (order[i : i + size] for order in balanced for i in range(0, batch_size, size))
    return [rows[i] for i in max(groups, key=lambda group: sum(lengths[i] for i in group))]


def longest_pairs(pairs: list[EncodedPair], size: int) -> list[EncodedPair]:
    """Return the longest pairs: pairs are padded, so this is the largest micro-batch."""
    return sorted(pairs, key=pair_length)[-size:]


def pair_length(pair: EncodedPair) -> int:
    """Return the number of tokens of the longer sequence of a pair."""
    return len(pair["prompt_ids"]) + max(len(pair["chosen_ids"]), len(pair["rejected_ids"]))


class StepEnds(NamedTuple):
    """What is known at the end of each optimizer step."""

    seconds: list[float]
    """Time (perf_counter)."""
    tokens: list[int]
    """Number of tokens so far, without padding."""


def step_timer(trainer: Trainer, ends: StepEnds, synchronize_at: Container[int]) -> TrainerCallback:
    """Return a callback that records the end of each optimizer step in `ends`.

    It waits for the GPU only after the steps in `synchronize_at`, because waiting slows down the next step: the host
    could have prepared its rows meanwhile.
    """
    import torch
    from transformers import TrainerCallback, TrainerState

    class StepTimer(TrainerCallback):
        def on_step_end(self, _: object, state: TrainerState, *__: object, **___: object) -> None:
            if torch.cuda.is_available() and state.global_step in synchronize_at:
                torch.cuda.synchronize()
            ends.seconds.append(time.perf_counter())
            ends.tokens.append(trainer._total_train_tokens)

    return StepTimer()
