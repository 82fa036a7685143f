"""Batches of a local model: what they hold, and what happens if one does not fit into GPU memory."""

from __future__ import annotations

import pytest
import torch

from insurance_rag.core.errors import GpuMemoryError
from insurance_rag.evaluation.backends.local.attached_model import make_batches, run_batches


def test_padded_batches_stay_within_the_limit() -> None:
    assert [*make_batches([9, 5, 4, 4, 2, 1], int, 10)] == [[9], [5, 4], [4, 2], [1]]
    assert [*make_batches([30, 1], int, 10)] == [[30], [1]]  # a longer row has a batch of its own
    assert [*make_batches([], int, 10)] == []


def test_a_batch_that_does_not_fit_is_split_in_half() -> None:
    done: list[list[int]] = []

    def run(batch: list[int]) -> None:
        if len(batch) > 2:
            raise torch.cuda.OutOfMemoryError
        done.append(batch)

    run_batches([[1, 2, 3, 4, 5], [6]], run, "use a smaller model")
    assert done == [[1, 2], [3], [4, 5], [6]]


def test_a_row_that_does_not_fit_says_what_to_do() -> None:
    def run(batch: list[int]) -> None:
        raise torch.cuda.OutOfMemoryError

    with pytest.raises(GpuMemoryError, match="one row does not fit into GPU memory; use a smaller model"):
        run_batches([[1, 2]], run, "use a smaller model")
