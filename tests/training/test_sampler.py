"""Micro-batches are balanced, and each optimizer step has the rows that TRL's own sampler would give it."""

from __future__ import annotations

import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from insurance_rag.training.sampler import BalancedSampler, balance_micro_batches


@given(lengths=st.lists(st.integers(1, 2048), min_size=1, max_size=70), size=st.integers(1, 9))
def test_balancing_keeps_every_row(lengths: list[int], size: int) -> None:
    rows = list(range(len(lengths)))
    assert sorted(balance_micro_batches(rows, lengths, size)) == rows


@given(n=st.integers(1, 50), epoch=st.integers(0, 3))
def test_each_step_has_the_rows_of_the_random_order(n: int, epoch: int) -> None:
    sampler = BalancedSampler([7 * i % 13 + 1 for i in range(n)], batch_size=8, micro_batch_size=2, seed=42)
    sampler.set_epoch(epoch)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(42 + epoch)).tolist()
    balanced = list(sampler)
    assert len(sampler) == n
    for start in range(0, n, 8):
        assert sorted(balanced[start : start + 8]) == sorted(order[start : start + 8])


def test_largest_micro_batch_is_close_to_the_mean() -> None:
    rng = random.Random(0)
    lengths = [int(min(2048, max(96, rng.lognormvariate(6.7, 0.5)))) for _ in range(16)]
    order = balance_micro_batches(range(16), lengths, 4)
    tokens = [sum(lengths[i] for i in order[k : k + 4]) for k in range(0, 16, 4)]
    assert max(tokens) < 1.1 * sum(lengths) / 4
