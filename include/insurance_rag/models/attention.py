"""Attention over rows that lie in one sequence without padding, on the FlashAttention-2 that torch itself carries.

Registered with transformers as `torch_varlen`, so no separate flash-attn wheel is needed. A row sees only itself: the
boundaries come from the collator (`cu_seq_lens_q`). On a CPU the rows are attended one by one; the result is the same.
"""

from __future__ import annotations

import itertools
from typing import Any

NAME = "torch_varlen"


def register() -> str:
    """Make `attn_implementation="torch_varlen"` known to transformers; returns that name."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, flash_attention_mask

    AttentionInterface.register(NAME, varlen_attention)
    AttentionMaskInterface.register(NAME, flash_attention_mask)
    return NAME


def varlen_attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: Any = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[Any, None]:
    """transformers' attention interface: (batch, heads, tokens, width) in, (batch, tokens, heads, width) out.

    Raises ValueError for a padded batch: this kernel knows rows by their boundaries, not by a mask.
    """
    import torch

    if attention_mask is not None:
        raise ValueError("torch_varlen takes rows without padding (padding_free); use sdpa for padded batches")
    if cu_seq_lens_q is None:  # a batch of equally long rows, as in generation or a single row
        return _one_by_one(query, key, value, [(0, query.shape[2])], scaling, sliding_window), None
    if not query.is_cuda:
        bounds = cu_seq_lens_q.tolist()
        return _one_by_one(query, key, value, list(itertools.pairwise(bounds)), scaling, sliding_window), None
    # The kernel takes (tokens, heads, width) in 16 bits; grouped key/value heads are its own business.
    q, k, v = (t.transpose(1, 2)[0].to(torch.bfloat16) for t in (query, key, value))
    out = torch.ops.aten._flash_attention_forward(
        q, k, v, cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q, 0.0, True, False, scale=scaling,
        window_size_left=None if sliding_window is None else sliding_window - 1,
        window_size_right=None if sliding_window is None else 0,
    )[0]  # fmt: skip
    return out[None].to(query.dtype), None


def _one_by_one(
    query: Any, key: Any, value: Any, bounds: list[tuple[int, int]], scaling: float | None, window: int | None
) -> Any:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    rows = []
    for start, end in bounds:
        q, (k, v) = (
            query[:, :, start:end],
            (key[:, :, start:end], value[:, :, start:end]) if len(bounds) > 1 else (key, value),
        )
        n, past = q.shape[2], k.shape[2] - q.shape[2]  # past > 0 in cached generation
        mask = None
        if past or (window and n > window):
            position = torch.arange(n, device=q.device)[:, None] + past
            other = torch.arange(n + past, device=q.device)[None]
            mask = (other <= position) & (other > position - (window or n + past))
        causal = mask is None
        rows.append(
            scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scaling, enable_gqa=True)
        )
    return torch.cat(rows, 2).transpose(1, 2).contiguous()
