"""Translate a recipe into the arguments of TRL's trainer.

This module imports torch and trl at import time, so import it inside the function that trains.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from transformers import TrainingArguments
from trl import SFTConfig

from insurance_rag.config import TrainingConfig
from insurance_rag.core.records import MemoryPlan

log = logging.getLogger(__name__)

#: Base model and adapter are sharded layer by layer. Only one rank loads the weights, so host memory holds one copy.
FSDP = {
    "version": 2,
    "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "cpu_ram_efficient_loading": True,
    "state_dict_type": "FULL_STATE_DICT",
    "reshard_after_forward": True,
}


def sft_config(config: TrainingConfig, plan: MemoryPlan, output_dir: Path, *, evaluate: bool) -> SFTConfig:
    """Return the trainer's arguments. Checkpoints go to `output_dir`; `evaluate` is true if there are held-out rows."""
    args = SFTConfig(
        **common_arguments(config, plan, output_dir, evaluate=evaluate),
        neftune_noise_alpha=config.neftune_noise_alpha,
        # The encoded rows already respect the recipe's limit. A second limit here could cut answers, and TRL does not
        # accept a limit if `padding_free` is set.
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        padding_free=config.padding_free,
        packing=False,
        completion_only_loss=False,  # if the recipe excludes the prompt from the loss, the labels already do
    )
    use_one_gpu(args)
    return args


def common_arguments(
    config: TrainingConfig, plan: MemoryPlan, output_dir: Path, *, evaluate: bool
) -> dict[str, object]:
    """Return the arguments that the trainers of all objectives have."""
    early_stopping = bool(config.early_stopping_patience and evaluate)
    return dict(
        output_dir=str(output_dir),
        per_device_train_batch_size=plan.per_device_train_batch_size,
        per_device_eval_batch_size=plan.per_device_train_batch_size,
        gradient_accumulation_steps=plan.gradient_accumulation_steps,
        num_train_epochs=config.num_train_epochs,
        max_steps=config.max_steps or -1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_steps=config.warmup_steps if config.warmup_steps < 1 else int(config.warmup_steps),
        optim=plan.optim,
        weight_decay=config.weight_decay,
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        max_grad_norm=config.max_grad_norm,
        bf16=plan.compute_dtype == "bf16",
        use_cpu=not torch.cuda.is_available(),
        activation_checkpointing=plan.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if plan.gradient_checkpointing else None,
        logging_steps=config.logging_steps,
        # This filter waits for the GPU after every micro-batch. The trainer has one that does not, so that the host can
        # prepare the next rows meanwhile.
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluate and config.eval_steps else "no",
        eval_steps=config.eval_steps,
        prediction_loss_only=True,
        save_strategy="steps",
        save_steps=config.eval_steps if early_stopping else config.save_steps,
        save_total_limit=2,  # if the process is killed while saving a checkpoint, the previous one remains
        load_best_model_at_end=early_stopping,
        metric_for_best_model=config.early_stopping_metric,
        greater_is_better=config.early_stopping_metric != "eval_loss",
        report_to=list(config.report_to) or "none",
        fsdp=config.fsdp,
        fsdp_config=FSDP if config.fsdp else None,
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        seed=config.seed,
        data_seed=config.seed,
    )


def use_one_gpu(args: TrainingArguments) -> None:
    """Make the trainer use one GPU per process, also if more GPUs are visible."""
    if args.n_gpu > 1:
        log.info("training on one of %d visible GPUs; set gpus=%d to use all", args.n_gpu, args.n_gpu)
        args._n_gpu = 1  # otherwise Trainer would use nn.DataParallel, which TRL does not support
