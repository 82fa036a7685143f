"""A key/value cache of fixed size. The caller sets the write position, so that a CUDA graph can record a step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers.cache_utils import CacheLayerMixin


@dataclass
class WritePosition:
    """Where keys and values are written next: to whole rows during the prefill, otherwise to one position per row."""

    rows: torch.Tensor
    """Row numbers, shape [rows]."""
    position: torch.Tensor
    """Next position of each row, shape [rows]."""
    prefill: slice | None = None
    """Rows that the current prefill pass fills, from position 0; None while decoding."""


class StaticLayer(CacheLayerMixin):
    """Keys and values for one layer, each of shape [rows, heads, positions, width]."""

    def __init__(self, write: WritePosition, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.write = write
        self.keys = torch.zeros(shape, device=write.rows.device, dtype=dtype)
        self.values = torch.zeros_like(self.keys)
        self.is_initialized = True

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store new keys and values, and return the keys and values that attention reads."""
        write = self.write
        if write.prefill is not None:
            self.keys[write.prefill, :, : keys.shape[2]] = keys
            self.values[write.prefill, :, : keys.shape[2]] = values
            return keys, values
        self.keys[write.rows, :, write.position] = keys[:, :, 0]
        self.values[write.rows, :, write.position] = values[:, :, 0]
        return self.keys, self.values

    def lazy_initialization(self, *_: object) -> None:
        """Do nothing, because the tensors already exist."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the number of keys and their offset for the prefill's mask. Decoding steps pass their own mask."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Return 0, because positions are passed to the model explicitly."""
        return 0

    def get_max_length(self) -> int:
        """Return the number of positions per row."""
        return int(self.keys.shape[2])
