"""The base of the trainers: exact resumption, balanced micro-batches, and recovery when a GPU runs out of memory.

This module imports torch and transformers at import time, so import it inside the function that trains.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import torch
from datasets import Dataset
from transformers import Trainer

from insurance_rag.core.errors import GpuMemoryError
from insurance_rag.training.micro_batches import MicroBatch, copy_gradients, restore_gradients
from insurance_rag.training.sampler import Arrange, BalancedSampler, balance_micro_batches
from insurance_rag.training.trainable_model import set_adapter_dtype

log = logging.getLogger(__name__)


class BaseAdapterTrainer(Trainer):
    """Splits micro-batches when memory runs out. A resumed run gives the same result as an uninterrupted run.

    A subclass also inherits from one of TRL's trainers, and implements the methods that raise NotImplementedError.
    """

    arrange: Arrange = staticmethod(balance_micro_batches)
    """How the rows of an optimizer step are divided into micro-batches."""

    def __init__(self, *args: object, adapter_dtype: str, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.adapter_dtype = adapter_dtype
        self.n_pieces = 1
        """Number of pieces that each micro-batch is split into."""
        self.stop_compiling: Callable[[], None] | None = None
        """Function that makes the layers run uncompiled. None if nothing is compiled."""
        self._last_loss = torch.zeros(())
        set_adapter_dtype(self.model, adapter_dtype)

    def row_lengths(self, rows: Dataset) -> Sequence[int]:
        """Return the number of tokens in each row."""
        raise NotImplementedError

    def count_rows(self, inputs: MicroBatch) -> int:
        """Return the number of rows in a micro-batch."""
        raise NotImplementedError

    def split(self, inputs: MicroBatch) -> Iterable[MicroBatch]:
        """Return the micro-batch in at most `n_pieces` pieces whose gradients add up to its gradient."""
        raise NotImplementedError

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        set_adapter_dtype(self.model, self.adapter_dtype)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> BalancedSampler:
        """Return a sampler with balanced micro-batches. Each step has the same rows as with TRL's sampler."""
        args = self.args
        rows = self.train_dataset if train_dataset is None else train_dataset
        batch_size = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        return BalancedSampler(self.row_lengths(rows), batch_size, args.train_batch_size, args.data_seed, self.arrange)

    def training_step(
        self, model: torch.nn.Module, inputs: MicroBatch, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the gradients for one micro-batch, in as many pieces as the memory requires.

        If a step cannot be compiled, this step and all later ones run uncompiled. Raises GpuMemoryError if a single row
        does not fit. Returns the last finite loss, so that one overflow does not turn all logged means into NaN.
        """
        while True:
            before = copy_gradients(model)
            try:
                loss = sum(
                    super(BaseAdapterTrainer, self).training_step(model, piece, num_items_in_batch)
                    for piece in self.split(inputs)
                )
            except torch.OutOfMemoryError as e:
                self._use_more_pieces(self.count_rows(inputs), e)
            except Exception as e:
                if self.stop_compiling is None:
                    raise
                self._run_uncompiled(e)
            else:
                self._last_loss = torch.where(torch.isfinite(loss), loss, self._last_loss.to(loss.device))
                return self._last_loss
            restore_gradients(model, before)
            torch.cuda.empty_cache() if torch.cuda.is_available() else None

    def _run_uncompiled(self, error: Exception) -> None:
        """Stop compiling. Any error counts, because compilers, drivers and caches fail in many ways."""
        assert self.stop_compiling is not None
        self.stop_compiling()
        self.stop_compiling = None
        reason = next(iter(str(error).splitlines()), "no message")
        log.warning(
            "the layers cannot be compiled (%s: %s); they run uncompiled and without Liger's kernels, which is slower "
            "and needs more memory; set torch_compile=false to use these kernels",
            type(error).__name__,
            reason[:200],
        )

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
