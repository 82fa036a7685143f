"""Rows in one sequence do not see each other, and the result is that of each row alone (trap 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from insurance_rag.models.attention import register, varlen_attention

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32
ROWS = [[5, 9, 13, 21, 34], [7, 8, 9], [40, 41, 42, 43, 44, 45, 46]]


@pytest.fixture(scope="module")
def model(base_model: Path) -> Any:
    return (
        AutoModelForCausalLM.from_pretrained(base_model, attn_implementation=register(), dtype=DTYPE).eval().to(DEVICE)
    )


def packed(rows: list[list[int]]) -> dict[str, Any]:
    bounds = torch.tensor([0, *[len(row) for row in rows]]).cumsum(0).to(torch.int32)
    longest = max(len(row) for row in rows)
    batch = {
        "input_ids": torch.tensor([[token for row in rows for token in row]]),
        "position_ids": torch.cat([torch.arange(len(row)) for row in rows])[None],
        "cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest,
    }  # fmt: skip
    return {name: value.to(DEVICE) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def logits(model: Any, rows: list[list[int]]) -> torch.Tensor:
    with torch.no_grad():
        return model(**packed(rows), use_cache=False).logits[0]


def test_packed_rows_equal_single_rows(model: Any, base_model: Path) -> None:
    reference = AutoModelForCausalLM.from_pretrained(base_model, dtype=DTYPE).eval().to(DEVICE)
    with torch.no_grad():
        alone = torch.cat([reference(torch.tensor([row], device=DEVICE)).logits[0] for row in ROWS])
    assert (logits(model, ROWS) - alone).abs().max() < (0.1 if DEVICE == "cuda" else 1e-4)  # bfloat16 on a GPU


def test_nothing_leaks_from_one_row_to_the_next(model: Any) -> None:
    other = [[99, 98, 97, 96, 95], *ROWS[1:]]
    assert torch.equal(logits(model, ROWS)[5:], logits(model, other)[5:])
    joined = packed(ROWS)
    with torch.no_grad():  # the remedy's proof: without boundaries and restarted positions the rows do see each other
        naive = model(input_ids=joined["input_ids"], use_cache=False).logits[0]
    assert (naive[5:] - logits(model, ROWS)[5:]).abs().max() > 0.01


def test_a_sliding_window_and_cached_generation_are_masked() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 6, 8) for _ in range(3))
    full, _ = varlen_attention(None, query, key, value, None)
    wide, _ = varlen_attention(None, query, key, value, None, sliding_window=6)
    narrow, _ = varlen_attention(None, query, key, value, None, sliding_window=1)
    last, _ = varlen_attention(None, query[:, :, -1:], key, value, None)
    assert torch.allclose(full, wide, atol=1e-6)
    assert torch.allclose(narrow, value.transpose(1, 2), atol=1e-6)  # each token sees itself alone
    assert torch.allclose(last, full[:, -1:], atol=1e-6)


def test_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="use sdpa for padded batches"):
        varlen_attention(None, None, None, None, torch.ones(1, 3))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("window", [None, 3])
def test_the_kernel_equals_the_rows_one_by_one(window: int | None) -> None:
    torch.manual_seed(0)
    query = torch.randn(1, 8, 15, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    key, value = (torch.randn(1, 2, 15, 64, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    bounds = torch.tensor([0, 5, 8, 15], dtype=torch.int32, device="cuda")
    kernel, _ = varlen_attention(None, query, key, value, None, 0.125, window, bounds, 7)
    (gradient,) = torch.autograd.grad(kernel.float().square().sum(), query)
    slow = query.detach().cpu().float().requires_grad_()
    wanted, _ = varlen_attention(
        None, slow, key.cpu().float(), value.cpu().float(), None, 0.125, window, bounds.cpu(), 7
    )
    (wanted_gradient,) = torch.autograd.grad(wanted.square().sum(), slow)
    assert (kernel.cpu().float() - wanted).abs().max() < 0.03
    assert (gradient.cpu().float() - wanted_gradient).abs().max() < 0.1 * wanted_gradient.abs().max()
