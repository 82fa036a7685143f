"""Extend TRL's SFTTrainer with exact resumption, balanced micro-batches, and recovery when a GPU runs out of memory.

This module imports torch and trl at import time, so import it inside the function that trains.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from transformers import EarlyStoppingCallback, PrinterCallback
from trl import SFTTrainer

from insurance_rag.config import TrainingConfig
from insurance_rag.core.errors import GpuMemoryError
from insurance_rag.core.records import MemoryPlan
from insurance_rag.training.encoding import EncodedRow
from insurance_rag.training.micro_batches import (
    MicroBatch,
    copy_gradients,
    count_rows,
    restore_gradients,
    split_micro_batch,
)
from insurance_rag.training.sampler import BalancedSampler
from insurance_rag.training.sft_config import sft_config
from insurance_rag.training.trainable_model import lora_config, set_adapter_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

log = logging.getLogger(__name__)


class AdapterTrainer(SFTTrainer):
    """Splits micro-batches when memory runs out. A resumed run gives the same result as an uninterrupted run."""

    def __init__(self, *args: object, adapter_dtype: str, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.adapter_dtype = adapter_dtype
        self.n_pieces = 1
        """Number of pieces that each micro-batch is split into."""
        set_adapter_dtype(self.model, adapter_dtype)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        set_adapter_dtype(self.model, self.adapter_dtype)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> BalancedSampler:
        """Return a sampler with balanced micro-batches. Each step has the same rows as with TRL's sampler."""
        args = self.args
        rows = self.train_dataset if train_dataset is None else train_dataset
        batch_size = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        lengths = [len(ids) for ids in rows["input_ids"]]
        return BalancedSampler(lengths, batch_size, args.train_batch_size, args.data_seed)

    def training_step(
        self, model: torch.nn.Module, inputs: MicroBatch, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the gradients for one micro-batch, in as many pieces as the memory requires.

        The loss is the sum over tokens, divided by the token count of the whole batch. Therefore, the gradients of the
        pieces add up to the gradient of the micro-batch. Raises GpuMemoryError if a single row does not fit.
        """
        while True:
            before = copy_gradients(model)
            try:
                return sum(
                    super(AdapterTrainer, self).training_step(model, piece, num_items_in_batch)
                    for piece in split_micro_batch(inputs, self.n_pieces)
                )
            except torch.OutOfMemoryError as e:
                self._use_more_pieces(count_rows(inputs), e)
            restore_gradients(model, before)
            torch.cuda.empty_cache() if torch.cuda.is_available() else None

    def _use_more_pieces(self, n_rows: int, error: torch.OutOfMemoryError) -> None:
        if self.n_pieces >= n_rows:
            raise GpuMemoryError(
                "the GPU is too small for a single row; set memory_preset=8GB or a shorter max_length, "
                "or use a larger GPU"
            ) from error
        if self.accelerator.num_processes > 1:
            raise GpuMemoryError(
                "a GPU ran out of memory, and one of several processes cannot split its micro-batch without the "
                "others; set a smaller per_device_train_batch_size"
            ) from error
        self.n_pieces *= 2
        log.warning(
            "out of memory: micro-batches of %d rows are now computed in %d pieces; the batch size does not change",
            n_rows,
            self.n_pieces,
        )


def build_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[EncodedRow],
    heldout: list[EncodedRow],
    config: TrainingConfig,
    plan: MemoryPlan,
    output_dir: Path,
    callbacks: Sequence[TrainerCallback],
) -> AdapterTrainer:
    """Combine base model, rows and settings into a trainer; checkpoints go to `output_dir`."""
    patience = config.early_stopping_patience
    early_stopping = [EarlyStoppingCallback(patience)] if patience and heldout else []
    trainer = AdapterTrainer(
        model=model,
        args=sft_config(config, plan, output_dir, evaluate=bool(heldout)),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(heldout) if heldout else None,
        processing_class=tokenizer,
        peft_config=lora_config(config),
        callbacks=[*callbacks, *early_stopping],
        adapter_dtype=plan.adapter_dtype,
    )
    trainer.remove_callback(PrinterCallback)  # TrainingMonitor already shows these values
    if config.torch_compile:
        for layer in trainer.model.get_base_model().model.layers:
            layer.compile(dynamic=True)
    return trainer
