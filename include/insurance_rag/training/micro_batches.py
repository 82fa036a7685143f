"""Split micro-batches, and restore the gradients after a backward pass that ran out of memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

MicroBatch: TypeAlias = "Mapping[str, torch.Tensor]"
"""Inputs to one forward pass: padded rows, or concatenated rows with their boundaries in `cu_seq_lens_q`."""


def count_rows(inputs: MicroBatch) -> int:
    """Return the number of rows in a micro-batch."""
    bounds = inputs.get("cu_seq_lens_q")
    return len(inputs["input_ids"]) if bounds is None else len(bounds) - 1


def split_micro_batch(inputs: MicroBatch, n_pieces: int) -> Iterator[MicroBatch]:
    """Yield the micro-batch in at most `n_pieces` pieces, without splitting a row."""
    n_rows = count_rows(inputs)
    size = -(-n_rows // n_pieces)
    if size >= n_rows:
        yield inputs
        return
    bounds = inputs.get("cu_seq_lens_q")
    for start in range(0, n_rows, size):
        end = min(start + size, n_rows)
        if bounds is None:
            yield {name: value[start:end] for name, value in inputs.items()}
        else:
            yield _padding_free_piece(inputs, bounds[start : end + 1])


def _padding_free_piece(inputs: MicroBatch, bounds: torch.Tensor) -> MicroBatch:
    """Return the rows of one piece of a micro-batch without padding.

    `bounds` holds positions in the whole micro-batch: the first token of each row, then the end of the last row.
    """
    tokens = slice(int(bounds[0]), int(bounds[-1]))
    piece_bounds = bounds - bounds[0]
    longest = int(piece_bounds.diff().max())
    return {
        **{name: inputs[name][:, tokens] for name in ("input_ids", "labels", "position_ids")},
        **{"cu_seq_lens_q": piece_bounds, "cu_seq_lens_k": piece_bounds},
        **{"max_length_q": longest, "max_length_k": longest},
    }


def copy_gradients(model: torch.nn.Module) -> list[torch.Tensor | None]:
    """Return copies of the gradients that earlier micro-batches of the same optimizer step have accumulated.

    Only the adapter has gradients, so the copies are small.
    """
    return [p.grad.clone() if p.grad is not None else None for p in model.parameters() if p.requires_grad]


def restore_gradients(model: torch.nn.Module, gradients: list[torch.Tensor | None]) -> None:
    """Set the gradients to the copies that `copy_gradients` returned."""
    for parameter, gradient in zip((p for p in model.parameters() if p.requires_grad), gradients, strict=True):
        parameter.grad = gradient
