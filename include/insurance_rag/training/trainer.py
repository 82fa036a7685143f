"""TRL's SFTTrainer with what a long run needs: exact resumption and a way out of a full GPU.

This module imports torch and trl when it is imported; import it inside the function that trains.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import EarlyStoppingCallback, PrinterCallback
from trl import SFTConfig, SFTTrainer

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import GpuMemoryError
from insurance_rag.training.memory import Plan
from insurance_rag.training.model import lora_config, set_adapter_dtype
from insurance_rag.training.sampler import BalancedSampler

log = logging.getLogger(__name__)


class AdapterTrainer(SFTTrainer):
    """SFTTrainer whose resumed runs equal straight ones, and whose micro-batches are halved when memory runs out."""

    def __init__(self, *args: Any, adapter_dtype: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.adapter_dtype = adapter_dtype
        self.pieces = 1
        set_adapter_dtype(self.model, adapter_dtype)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        set_adapter_dtype(self.model, self.adapter_dtype)

    def _get_train_sampler(self, train_dataset: Any = None) -> BalancedSampler:
        """The rows of an optimizer step are those of TRL's own sampler; only their grouping differs."""
        args = self.args
        rows = self.train_dataset if train_dataset is None else train_dataset
        batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        return BalancedSampler([len(ids) for ids in rows["input_ids"]], batch, args.train_batch_size, args.data_seed)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """One micro-batch, in as many pieces as fit.

        The loss is a sum over answer tokens divided by those of the whole batch, so pieces add up to the same gradient
        as the whole: halving the micro-batch and doubling the accumulation changes nothing but the memory.
        """
        while True:
            before = _gradients(model)
            try:
                return sum(
                    super(AdapterTrainer, self).training_step(model, piece, num_items_in_batch)
                    for piece in split(inputs, self.pieces)
                )
            except torch.OutOfMemoryError as e:
                rows = count_rows(inputs)
                if self.pieces >= rows or self.accelerator.num_processes > 1:
                    raise GpuMemoryError(_way_out(self.pieces >= rows)) from e
                self.pieces *= 2
                log.warning(
                    "out of memory: micro-batch of %d rows halved to %d pieces, the batch stays the same",
                    rows,
                    self.pieces,
                )
            _restore_gradients(model, before)
            torch.cuda.empty_cache() if torch.cuda.is_available() else None


def _way_out(single_row: bool) -> str:
    if single_row:
        return (
            "the GPU is too small even for one row at a time: set memory=8GB or a shorter max_length, or a larger card"
        )
    return (
        "a GPU ran out of memory, and one of several processes cannot split its batch alone: set a smaller micro_batch"
    )


def _gradients(model: Any) -> list[Any]:
    """What earlier micro-batches of this step have added up; the adapter's gradients only, so the copy is small."""
    return [p.grad.clone() if p.grad is not None else None for p in model.parameters() if p.requires_grad]


def _restore_gradients(model: Any, gradients: list[Any]) -> None:
    for parameter, gradient in zip((p for p in model.parameters() if p.requires_grad), gradients, strict=True):
        parameter.grad = gradient


def count_rows(inputs: dict[str, Any]) -> int:
    bounds = inputs.get("cu_seq_lens_q")
    return len(inputs["input_ids"]) if bounds is None else len(bounds) - 1


def split(inputs: dict[str, Any], pieces: int) -> Iterator[dict[str, Any]]:
    """The micro-batch in at most `pieces` parts of whole rows, padded or padding-free."""
    rows = count_rows(inputs)
    size = -(-rows // pieces)
    if size >= rows:
        yield inputs
        return
    bounds = inputs.get("cu_seq_lens_q")
    for start in range(0, rows, size):
        end = min(start + size, rows)
        if bounds is None:
            yield {name: value[start:end] for name, value in inputs.items()}
            continue
        part = bounds[start : end + 1]
        tokens = slice(int(part[0]), int(part[-1]))
        local = part - part[0]
        longest = int(local.diff().max())
        yield {
            **{name: inputs[name][:, tokens] for name in ("input_ids", "labels", "position_ids")},
            **{"cu_seq_lens_q": local, "cu_seq_lens_k": local, "max_length_q": longest, "max_length_k": longest},
        }


def build_trainer(
    model: Any,
    tokenizer: Any,
    rows: list[dict[str, list[int]]],
    heldout: list[dict[str, list[int]]],
    config: TrainingConfig,
    plan: Plan,
    work: Path,
    callbacks: list[Any],
) -> AdapterTrainer:
    """Put base model, rows and settings into a trainer; checkpoints go to `work`."""
    stopping = [EarlyStoppingCallback(config.early_stopping)] if config.early_stopping and heldout else []
    trainer = AdapterTrainer(
        model=model,
        args=sft_config(config, plan, work, evaluate=bool(heldout)),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(heldout) if heldout else None,
        processing_class=tokenizer,
        peft_config=lora_config(config),
        callbacks=[*callbacks, *stopping],
        adapter_dtype=plan.adapter_dtype,
    )
    trainer.remove_callback(PrinterCallback)  # Watch shows the same, once
    if config.compile:
        for layer in trainer.model.get_base_model().model.layers:
            layer.compile(dynamic=True)
    return trainer


def sft_config(config: TrainingConfig, plan: Plan, work: Path, *, evaluate: bool) -> SFTConfig:
    """The recipe in TRL's words."""
    strategy = "steps" if evaluate and config.eval_every else "no"
    stopping = bool(config.early_stopping and evaluate)
    args = SFTConfig(
        output_dir=str(work),
        per_device_train_batch_size=plan.micro_batch,
        per_device_eval_batch_size=plan.micro_batch,
        gradient_accumulation_steps=plan.accumulation,
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup if config.warmup < 1 else int(config.warmup),
        optim=plan.optimizer,
        bf16=plan.compute == "bf16",
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=plan.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if plan.checkpointing else None,
        # Rows come encoded and within the limit; a limit here would cut answers, and padding-free forbids one.
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        padding_free=config.padding_free,
        packing=False,
        completion_only_loss=False,  # the labels say it
        logging_steps=config.log_every,
        eval_strategy=strategy,
        eval_steps=config.eval_every,
        prediction_loss_only=True,
        save_strategy="steps",
        save_steps=config.eval_every if stopping else config.save_every,
        save_total_limit=2,  # the last complete one survives a kill while the next is written
        load_best_model_at_end=stopping,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        report_to=list(config.report_to) or "none",
        fsdp=config.fsdp,
        fsdp_config=FSDP if config.fsdp else None,
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        seed=config.seed,
        data_seed=config.seed,
    )
    if args.n_gpu > 1:
        log.info("one of %d GPUs is used; gpus=%d takes all", args.n_gpu, args.n_gpu)
        args._n_gpu = 1  # Trainer would give each a thread (nn.DataParallel), which TRL refuses
    return args


#: Base and adapter sharded layer by layer; loading on one rank only keeps the host's memory at one copy.
FSDP = {
    "version": 2,
    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "cpu_ram_efficient_loading": True,
    "state_dict_type": "FULL_STATE_DICT",
    "reshard_after_forward": True,
}
