"""Sample training rows in random order, in micro-batches with nearly equal token counts.

The gradient of an optimizer step is a sum over the rows of the step. This sum does not depend on how the rows are
grouped into micro-batches. Balanced micro-batches lower the peak memory and shorten the time that processes wait for
each other.

This module imports torch at import time, so import it inside the function that trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch

Arrange: TypeAlias = Callable[[Sequence[int], Sequence[int], int], list[int]]
"""Function (rows, lengths of all rows, micro-batch size) -> the rows in another order."""


class BalancedSampler(torch.utils.data.Sampler[int]):
    """Yields row indices for a DataLoader that reads one micro-batch at a time."""

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        micro_batch_size: int,
        seed: int,
        arrange: Arrange | None = None,
    ) -> None:
        """`lengths` holds the number of tokens in each row; `batch_size` is the number of rows per optimizer step.

        `arrange` orders the rows of a step. By default, its micro-batches get nearly equal token counts.
        """
        self.arrange = arrange or balance_micro_batches
        self.lengths, self.batch_size, self.micro_batch_size, self.seed = lengths, batch_size, micro_batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Select the random order for an epoch. accelerate calls this method, also in resumed runs."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)  # as in accelerate's SeedableRandomSampler
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        for start in range(0, len(order), self.batch_size):
            yield from self.arrange(order[start : start + self.batch_size], self.lengths, self.micro_batch_size)


def sort_by_length(rows: Sequence[int], lengths: Sequence[int], _: int) -> list[int]:
    """Order rows from longest to shortest. Micro-batches that pad their rows then contain the least padding."""
    return sorted(rows, key=lambda row: -lengths[row])


def balance_micro_batches(rows: Sequence[int], lengths: Sequence[int], size: int) -> list[int]:
    """Reorder `rows` so that consecutive groups of `size` rows have nearly equal token counts.

    Rows are assigned from longest to shortest. Each row joins the group with the fewest tokens among those that are not
    full. The last group may be smaller.
    """
    groups: list[list[int]] = [[] for _ in range(0, len(rows), size)]
    capacity = [size] * len(groups)
    capacity[-1] = len(rows) - size * (len(groups) - 1)
    tokens = [0] * len(groups)
    for row in sorted(rows, key=lambda r: -lengths[r]):
        lightest = min((g for g in range(len(groups)) if len(groups[g]) < capacity[g]), key=lambda g: tokens[g])
        groups[lightest].append(row)
        tokens[lightest] += lengths[row]
    return [row for group in groups for row in group]
