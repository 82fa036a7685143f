"""A base model with adapters attached, whose weights are loaded on first use, and the batches that fit into memory."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import torch

from insurance_rag.core.errors import GpuMemoryError
from insurance_rag.evaluation.backends.local.batched_lora import BatchedLora
from insurance_rag.evaluation.backends.local.inference_model import BaseModelSpec, load_inference_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)
T = TypeVar("T")


class AttachedModel:
    """The base model with all adapters attached. Use it as a context manager to free the memory."""

    precision = "auto"
    """That of `EvaluationConfig`. Set it before the weights are loaded."""

    def __init__(self, base_model: str, adapters: Mapping[str, Path]) -> None:
        """Read the adapters' manifests. `adapters` maps names to folders.

        Raises InvalidInputError if the adapters were trained on different base models, or on another one.
        """
        self.base_model, self.adapters = base_model, adapters
        self.spec = BaseModelSpec.of(adapters, base_model)

    @cached_property
    def model(self) -> PreTrainedModel:
        """The base model, loaded on first use. Raises InvalidInputError if it cannot be loaded."""
        return load_inference_model(self.base_model, self.precision, self.spec)[0]

    @cached_property
    def lora(self) -> BatchedLora | None:
        """The adapters, attached to the base model on first use. None if there are none.

        Raises InvalidInputError if an adapter does not fit the base model.
        """
        return BatchedLora(self.model, self.adapters) if self.adapters else None

    def select(self, names: list[str]) -> None:
        """Choose the model of each row of the next batches. A single name applies to all rows."""
        if self.lora:
            self.lora.select(names)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.__dict__.pop("lora", None)
        self.__dict__.pop("model", None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def make_batches(items: Sequence[T], length: Callable[[T], int], max_tokens: int) -> Iterator[list[T]]:
    """Yield batches whose tokens, including padding, do not exceed `max_tokens`. `items` must be sorted, longest first.

    An item that is longer than `max_tokens` has a batch of its own.
    """
    batch: list[T] = []
    for item in items:
        if batch and (len(batch) + 1) * length(batch[0]) > max_tokens:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def run_batches(batches: Iterable[list[T]], run: Callable[[list[T]], None], advice: str) -> None:
    """Run all batches. One that does not fit into GPU memory is split in half.

    Raises GpuMemoryError if a single item does not fit. `advice` says what to do then.
    """
    waiting = list(batches)
    while waiting:
        batch = waiting.pop(0)
        try:
            run(batch)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            if len(batch) == 1:
                raise GpuMemoryError(f"a batch of one row does not fit into GPU memory; {advice}") from None
            log.warning("a batch of %d rows does not fit into GPU memory and is split in half", len(batch))
            half = len(batch) // 2
            waiting[:0] = [batch[:half], batch[half:]]
