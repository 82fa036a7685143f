"""Order of the training rows: random, with micro-batches of nearly equal token counts.

The gradient of a step is a sum over its rows, so their distribution over micro-batches does not change it. Balanced
micro-batches lower the peak memory, which the largest one decides, and shorten the waits between processes.
This module imports torch when it is imported; import it inside the function that trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch


class BalancedSampler(torch.utils.data.Sampler[int]):
    """Yields row numbers for a DataLoader that reads one micro-batch at a time."""

    def __init__(self, lengths: Sequence[int], batch_size: int, micro_batch_size: int, seed: int) -> None:
        """`lengths` are tokens per row; `batch_size` is the number of rows per optimizer step."""
        self.lengths, self.batch_size, self.micro_batch_size, self.seed = lengths, batch_size, micro_batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Select the random order of an epoch. accelerate calls it, also when a resumed run skips to its position."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)  # as accelerate's SeedableRandomSampler
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        for start in range(0, len(order), self.batch_size):
            yield from balance_micro_batches(
                order[start : start + self.batch_size], self.lengths, self.micro_batch_size
            )


def balance_micro_batches(rows: Sequence[int], lengths: Sequence[int], size: int) -> list[int]:
    """Reorder `rows` so that consecutive groups of `size` rows have nearly equal token counts.

    Each row, longest first, joins the group with the fewest tokens. The last group may be smaller.
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
