"""Keep parts of a training run in host memory: the inputs of recomputed layers, and the input embeddings.

This module imports torch at import time, so import it inside the function that trains.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch.autograd.graph import saved_tensors_hooks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


class _Stored(NamedTuple):
    """The input of one layer in host memory."""

    number: int
    """Number of this input in the forward pass."""
    host: torch.Tensor


_Packed: TypeAlias = "torch.Tensor | _Stored"


class LayerInputOffload:
    """Moves the inputs of recomputed layers to host memory, and back when the backward pass needs them.

    Both copies run on a stream of their own, next to the computation. While the backward pass computes a layer, the
    input of the layer below is already on its way. A token needs `2 x hidden` bytes per layer and direction, 256 KiB
    for an 8B model. At 12,000 tokens per second this is 3.2 GB/s, a fifth of PCIe 4.0 x8.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._buffers: list[torch.Tensor] = []
        """Pinned memory, one buffer per layer. Pinning is slow, so the buffers are kept."""
        self._stored: list[_Stored] = []
        self._fetched: dict[int, tuple[torch.Tensor, torch.cuda.Event]] = {}

    def start_micro_batch(self) -> None:
        """Forget the inputs of the previous micro-batch.

        If it failed, a copy to the GPU may still be running, and must end before its memory is used for something else.
        """
        torch.cuda.current_stream().wait_stream(self._stream)
        self._stored.clear()
        self._fetched.clear()

    def hooks(self, layer_input: torch.Tensor) -> saved_tensors_hooks:
        """Return a context for the forward pass of one layer. In it, only `layer_input` is moved to host memory."""
        address, shape = layer_input.data_ptr(), layer_input.shape

        def pack(tensor: torch.Tensor) -> _Packed:
            return self._store(tensor) if tensor.data_ptr() == address and tensor.shape == shape else tensor

        return saved_tensors_hooks(pack, self._restore)

    def _store(self, tensor: torch.Tensor) -> _Stored:
        index = len(self._stored)
        stored = _Stored(index, self._buffer(index, tensor).view(tensor.shape))
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            stored.host.copy_(tensor, non_blocking=True)
        tensor.record_stream(self._stream)
        self._stored.append(stored)
        return stored

    def _buffer(self, index: int, like: torch.Tensor) -> torch.Tensor:
        """Return pinned memory for one input. Copies of one buffer follow each other on one stream.

        Pinning takes seconds for all layers together, so a buffer that is too small is replaced by a much larger one.
        """
        if index == len(self._buffers):
            self._buffers.append(torch.empty(0, dtype=like.dtype))
        if self._buffers[index].numel() < like.numel():
            size = 1 << (like.numel() - 1).bit_length()  # the next power of two
            self._buffers[index] = _pinned(torch.empty(size, dtype=like.dtype))
        return self._buffers[index][: like.numel()]

    def _restore(self, packed: _Packed) -> torch.Tensor:
        if isinstance(packed, torch.Tensor):
            return packed
        if packed.number not in self._fetched:
            self._fetch(packed)
        tensor, arrived = self._fetched.pop(packed.number)
        torch.cuda.current_stream().wait_event(arrived)
        if packed.number:
            self._fetch(self._stored[packed.number - 1])
        return tensor

    def _fetch(self, stored: _Stored) -> None:
        """Start the copy to the GPU."""
        tensor = torch.empty(stored.host.shape, dtype=stored.host.dtype, device="cuda")
        self._stream.wait_stream(torch.cuda.current_stream())  # earlier kernels may still use this memory
        with torch.cuda.stream(self._stream):
            tensor.copy_(stored.host, non_blocking=True)
        self._fetched[stored.number] = (tensor, self._stream.record_event())


class _HostEmbedding(torch.nn.Embedding):
    """Frozen embeddings in host memory. The rows of a micro-batch are copied to the GPU."""

    table: torch.Tensor
    host_rows: torch.Tensor

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        if len(self.host_rows) < ids.numel():
            self.host_rows = _pinned(torch.empty(ids.numel(), self.embedding_dim, dtype=self.table.dtype))
        rows = self.host_rows[: ids.numel()]
        # Waiting for the ids also waits for the copy of the previous rows, so the buffer is free.
        torch.index_select(self.table, 0, ids.flatten().cpu(), out=rows)
        return rows.to(ids.device, non_blocking=True).unflatten(0, ids.shape)


def embeddings_can_move(model: PreTrainedModel) -> bool:
    """Return whether the input embeddings of the model are a plain table that the output head does not share."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    return type(embedding) is torch.nn.Embedding and head is not None and embedding.weight is not head.weight


def move_embeddings_to_host(model: PreTrainedModel) -> None:
    """Keep the frozen input embeddings in host memory from now on.

    The parameter becomes empty and stays on its device: the first parameter says where inputs belong, and DDP rejects
    parameters on several kinds of devices.
    """
    embedding = model.get_input_embeddings()
    # Attributes that are neither parameters nor buffers stay where they are when the model is moved to a device.
    table = embedding.table = _pinned(embedding.weight.detach().cpu())
    embedding.host_rows = table[:0]
    embedding.weight = torch.nn.Parameter(embedding.weight.new_empty(0), requires_grad=False)
    embedding.__class__ = _HostEmbedding


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in memory that the GPU can copy from without the host's help, or as it is if there is none."""
    if not torch.cuda.is_available():
        return tensor
    try:
        return tensor.pin_memory()
    except RuntimeError as e:  # e.g. a limit of the container
        log.warning("host memory cannot be pinned (%s); copies to and from the GPU are slower", str(e).splitlines()[0])
        return tensor
