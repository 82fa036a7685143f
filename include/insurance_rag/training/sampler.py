"""The order of the rows: random as TRL's, each optimizer batch dealt into micro-batches of nearly equal token counts.

The step's gradient is a sum over its rows, so how they are dealt does not change it. The largest micro-batch, which is
the peak of the memory, gets smaller, and the processes of a distributed run wait less for each other.
This module imports torch when it is imported; import it inside the function that trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch


class BalancedSampler(torch.utils.data.Sampler[int]):
    """Row numbers for a DataLoader that takes `micro_batch` at a time; `batch` rows make an optimizer step."""

    def __init__(self, lengths: Sequence[int], batch: int, micro_batch: int, seed: int) -> None:
        self.lengths, self.batch, self.micro_batch, self.seed, self.epoch = lengths, batch, micro_batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate, also when a resumed run skips to where it was."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)  # as accelerate's SeedableRandomSampler
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        for start in range(0, len(order), self.batch):
            yield from deal(order[start : start + self.batch], self.lengths, self.micro_batch)


def deal(rows: Sequence[int], lengths: Sequence[int], size: int) -> list[int]:
    """`rows` in another order: groups of `size` (the last may be smaller), the longest rows spread over the groups."""
    groups: list[list[int]] = [[] for _ in range(0, len(rows), size)]
    room = [size] * len(groups)
    room[-1] = len(rows) - size * (len(groups) - 1)
    tokens = [0] * len(groups)
    for row in sorted(rows, key=lambda r: -lengths[r]):
        lightest = min((g for g in range(len(groups)) if len(groups[g]) < room[g]), key=lambda g: tokens[g])
        groups[lightest].append(row)
        tokens[lightest] += lengths[row]
    return [row for group in groups for row in group]
