"""Rows in one sequence do not attend to each other, and each gets the result that it gets separately."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoModelForCausalLM

from insurance_rag.models.attention import register_varlen_attention, varlen_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32
ROWS = [[5, 9, 13, 21, 34], [7, 8, 9], [40, 41, 42, 43, 44, 45, 46]]


@pytest.fixture(scope="module")
def model(base_model: Path) -> PreTrainedModel:
    attention = register_varlen_attention()
    return (
        AutoModelForCausalLM.from_pretrained(base_model, attn_implementation=attention, dtype=DTYPE).eval().to(DEVICE)
    )


def concatenated(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    """Return the inputs of a padding-free micro-batch."""
    bounds = torch.tensor([0, *[len(row) for row in rows]]).cumsum(0).to(torch.int32)
    longest = max(len(row) for row in rows)
    batch = {
        "input_ids": torch.tensor([[token for row in rows for token in row]]),
        "position_ids": torch.cat([torch.arange(len(row)) for row in rows])[None],
        "cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest,
    }  # fmt: skip
    return {name: value.to(DEVICE) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def logits(model: PreTrainedModel, rows: list[list[int]]) -> torch.Tensor:
    with torch.no_grad():
        return model(**concatenated(rows), use_cache=False).logits[0]


def test_concatenated_rows_equal_single_rows(model: PreTrainedModel, base_model: Path) -> None:
    reference = AutoModelForCausalLM.from_pretrained(base_model, dtype=DTYPE).eval().to(DEVICE)
    with torch.no_grad():
        single = torch.cat([reference(torch.tensor([row], device=DEVICE)).logits[0] for row in ROWS])
    assert (logits(model, ROWS) - single).abs().max() < (0.1 if DEVICE == "cuda" else 1e-4)  # bfloat16 on a GPU


def test_rows_do_not_leak_into_the_next_row(model: PreTrainedModel) -> None:
    other = [[99, 98, 97, 96, 95], *ROWS[1:]]
    assert torch.equal(logits(model, ROWS)[5:], logits(model, other)[5:])
    joined = concatenated(ROWS)
    with torch.no_grad():  # without boundaries and restarted positions the rows do attend to each other
        naive = model(input_ids=joined["input_ids"], use_cache=False).logits[0]
    assert (naive[5:] - logits(model, ROWS)[5:]).abs().max() > 0.01


def test_sliding_window_and_cached_generation_are_masked() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 6, 8) for _ in range(3))
    full, _ = varlen_attention(None, query, key, value, None)
    wide, _ = varlen_attention(None, query, key, value, None, sliding_window=6)
    narrow, _ = varlen_attention(None, query, key, value, None, sliding_window=1)
    last, _ = varlen_attention(None, query[:, :, -1:], key, value, None)
    assert torch.allclose(full, wide, atol=1e-6)
    assert torch.allclose(narrow, value.transpose(1, 2), atol=1e-6)  # each token attends only to itself
    assert torch.allclose(last, full[:, -1:], atol=1e-6)


def test_padded_batch_is_rejected() -> None:
    query = torch.zeros(1, 1, 3, 8)
    with pytest.raises(ValueError, match="use sdpa for padded batches"):
        varlen_attention(None, query, query, query, torch.ones(1, 3))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("window", [None, 3])
def test_gpu_kernel_equals_the_cpu(window: int | None) -> None:
    torch.manual_seed(0)
    query = torch.randn(1, 8, 15, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    key, value = (torch.randn(1, 2, 15, 64, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    bounds = torch.tensor([0, 5, 8, 15], dtype=torch.int32, device="cuda")
    kernel, _ = varlen_attention(None, query, key, value, None, 0.125, window, bounds, 7)
    (gradient,) = torch.autograd.grad(kernel.float().square().sum(), query)
    cpu_query = query.detach().cpu().float().requires_grad_()
    expected, _ = varlen_attention(
        None, cpu_query, key.cpu().float(), value.cpu().float(), None, 0.125, window, bounds.cpu(), 7
    )
    (expected_gradient,) = torch.autograd.grad(expected.square().sum(), cpu_query)
    assert (kernel.cpu().float() - expected).abs().max() < 0.03
    assert (gradient.cpu().float() - expected_gradient).abs().max() < 0.1 * expected_gradient.abs().max()
