"""The configurations of the training benchmark, and the worker process that measures one of them."""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from bench.training_weights import EPOCHS, MAX_TOKENS, ROWS, make_rows
from insurance_rag.training.encoding import EncodedRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainerCallback
    from trl import SFTTrainer

    from insurance_rag.training.trainer import AdapterTrainer

MEASURED_ROWS = 1600
"""Number of rows in the measured dataset. The table extrapolates the results to a full dataset."""


@dataclass(frozen=True)
class Run:
    """One configuration of the benchmark."""

    steps: int
    """Number of optimizer steps to measure."""
    settings: dict[str, object] = field(default_factory=dict)
    """Settings that override those of recipe v3."""
    plain_trl: bool = False
    """Whether to use TRL's trainer, as described in TRL's documentation, instead of the pipeline's trainer."""
    warmup: int = 3
    """Number of optimizer steps before the measured ones."""
    processes: int = 1
    """Number of processes, each with its own GPU."""
    limit_s: float = 90.0
    """Seconds after which the worker is killed."""


RUNS: dict[str, Run] = {
    "reference v1/v2": Run(6, {"profile": "reference", "batch_size": 8, "per_device_train_batch_size": 2}),
    "reference v3": Run(5, {"profile": "reference"}),
    "plain TRL, bf16": Run(5, plain_trl=True),
    "80GB": Run(16, {"memory_preset": "80GB"}),
    "24GB": Run(16, {"memory_preset": "24GB"}),
    "8GB": Run(4, {"memory_preset": "8GB"}, warmup=2),
    "80GB, 8 rows": Run(12, {"memory_preset": "80GB", "per_device_train_batch_size": 8}),
    "80GB, bf16 base": Run(12, {"memory_preset": "80GB", "per_device_train_batch_size": 8, "quantization": "none"}),
    "80GB, compiled": Run(
        10,
        {"memory_preset": "80GB", "per_device_train_batch_size": 8, "torch_compile": True},
        warmup=8,
        limit_s=120.0,
    ),
    "ddp2": Run(12, {"memory_preset": "80GB", "batch_size": 32}, processes=2),
    "fsdp2": Run(8, {"memory_preset": "24GB", "batch_size": 32, "fsdp": True}, processes=2),
}
SINGLE_GPU_RUNS = [name for name, run in RUNS.items() if run.processes == 1]


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
    losses: list[float] = []
    layout: str = ""
    wall_s: float = 0.0
    minutes: float | None = None
    """Extrapolated duration of three epochs over all rows."""
    mfu: float | None = None
    """Model FLOPs utilization: computed FLOP/s relative to the peak in the GPU's datasheet."""


def run_worker(name: str, weights: Path, *, tiny: bool) -> None:
    """Measure the configuration `name`, print its result and end the process.

    Imports the libraries first and then waits for a line on stdin. The imports can therefore run while another
    configuration is being measured. A worker that uses several GPUs does not wait.
    """
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    import insurance_rag.training.trainer  # noqa: F401

    rows = make_rows(tiny=tiny, n=600 if tiny else MEASURED_ROWS)
    if "RANK" not in os.environ:
        sys.stdin.readline()
    started = time.monotonic()
    try:
        result = measure(RUNS[name], weights, rows)
    except Exception as e:  # noqa: BLE001  the table also shows failed configurations
        traceback.print_exc()
        result = Result(error=f"{type(e).__name__}: {str(e)[:300]}")
    result.wall_s = round(time.monotonic() - started, 1)
    if os.environ.get("RANK", "0") == "0":
        print("RESULT " + result.model_dump_json(), flush=True)
    os._exit(0)  # a normal exit would take seconds to shut CUDA down


def measure(run: Run, weights: Path, rows: list[EncodedRow]) -> Result:
    """Train for `run.warmup` + `run.steps` optimizer steps and return the measurements."""
    import torch
    from transformers import AutoTokenizer

    step_ends: list[float] = []
    tokenizer, n_steps = AutoTokenizer.from_pretrained(weights), run.warmup + run.steps
    with tempfile.TemporaryDirectory() as work:
        build = build_plain_trl if run.plain_trl else build_product
        trainer, facts = build(run, weights, rows, n_steps, step_timer(step_ends), tokenizer, Path(work))
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        trainer.train()
        peak_of_the_steps = gpu_peak_gib()
        if not run.plain_trl:  # the measured steps may lack the largest micro-batch of a full training run
            largest = largest_micro_batch(rows, trainer.args.per_device_train_batch_size)
            trainer.training_step(trainer.model, trainer.data_collator(largest), torch.tensor(1000))
    log = [row for row in trainer.state.log_history if "loss" in row]
    totals = [row["num_tokens"] for row in log if "num_tokens" in row]
    seconds = differences(step_ends, run.warmup)
    tokens = differences(totals, run.warmup)
    return facts.model_copy(
        update={
            "tokens_per_s": round(sum(tokens) / sum(seconds)),
            "tokens_per_s_median_step": round(statistics.median(t / s for t, s in zip(tokens, seconds, strict=True))),
            "step_s": round(statistics.median(seconds), 3),
            "steps": len(seconds),
            "peak_gib": gpu_peak_gib(),
            "peak_gib_of_the_steps": peak_of_the_steps,
            "losses": [round(row["loss"], 4) for row in log],
        }
    )


def differences(values: list[float], warmup: int) -> list[float]:
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


def step_timer(step_ends: list[float]) -> TrainerCallback:
    """Return a callback that, at the end of each optimizer step, appends the time (perf_counter) to `step_ends`."""
    import torch
    from transformers import TrainerCallback

    class StepTimer(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            step_ends.append(time.perf_counter())

    return StepTimer()


def build_product(
    run: Run,
    weights: Path,
    rows: list[EncodedRow],
    n_steps: int,
    timer: TrainerCallback,
    tokenizer: PreTrainedTokenizerBase,
    work: Path,
) -> tuple[AdapterTrainer, Result]:
    """Build the trainer as `train_adapter` does. The returned Result contains the layout and the memory estimate."""
    from insurance_rag.models.base_model import load_model_config
    from insurance_rag.models.devices import find_device
    from insurance_rag.training.memory import plan_memory
    from insurance_rag.training.memory_estimate import model_shape
    from insurance_rag.training.recipe import load_recipe
    from insurance_rag.training.trainable_model import load_trainable_model
    from insurance_rag.training.trainer import build_trainer

    fixed: dict[str, object] = {
        "max_steps": n_steps,
        "logging_steps": 1,
        "save_steps": 1000,
        "eval_steps": None,
        "report_to": [],
    }
    config = load_recipe("v3", {**run.settings, **fixed})
    if not config.completion_only_loss:
        rows = [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in rows]
    shape = model_shape(load_model_config(str(weights)), config.lora.target_modules)
    plan = plan_memory(config, shape, [len(row["input_ids"]) for row in rows], find_device())
    model = load_trainable_model(str(weights), config, plan)
    trainer = build_trainer(model, tokenizer, rows, [], config, plan, work, [timer])
    return trainer, Result(layout=str(plan), estimate_gib=plan.estimate_gib)


def build_plain_trl(
    run: Run,
    weights: Path,
    rows: list[EncodedRow],
    n_steps: int,
    timer: TrainerCallback,
    tokenizer: PreTrainedTokenizerBase,
    work: Path,
) -> tuple[SFTTrainer, Result]:
    """Build a trainer as TRL's documentation describes.

    The trainer uses an NF4 base model prepared by PEFT, gradient checkpointing, bf16 and padded batches.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    cuda = torch.cuda.is_available()
    base = AutoModelForCausalLM.from_pretrained(
        weights, dtype=torch.bfloat16, device_map={"": 0 if cuda else "cpu"}, quantization_config=quantization
    )
    trainer = SFTTrainer(
        model=prepare_model_for_kbit_training(base),
        args=SFTConfig(
            output_dir=str(work), per_device_train_batch_size=4, gradient_accumulation_steps=4, max_steps=n_steps,
            learning_rate=2e-4, warmup_steps=0.03, bf16=True, use_cpu=not cuda, optim="paged_adamw_32bit",
            max_length=MAX_TOKENS, logging_steps=1, save_strategy="no", disable_tqdm=True, seed=42,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=16, lora_alpha=32, lora_dropout=0.05, task_type="CAUSAL_LM",
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        ),
        callbacks=[timer],
    )  # fmt: skip
    return trainer, Result(layout="4 rows x 4, checkpointing, paged_adamw_32bit, completion-only, padded")
