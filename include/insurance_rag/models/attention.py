"""Variable-length attention for rows concatenated without padding, using the FlashAttention-2 kernel built into torch.

This code is registered with transformers as `torch_varlen`, so the separate flash-attn package is not needed. Tokens
attend only to their own row. The collator passes the row boundaries in `cu_seq_lens_q`. On a CPU, rows are computed one
at a time, with the same result.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

VARLEN_ATTENTION = "torch_varlen"


def register_varlen_attention() -> str:
    """Make `attn_implementation="torch_varlen"` available in transformers, and return "torch_varlen"."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, flash_attention_mask

    AttentionInterface.register(VARLEN_ATTENTION, varlen_attention)
    AttentionMaskInterface.register(VARLEN_ATTENTION, flash_attention_mask)
    return VARLEN_ATTENTION


def varlen_attention(
    module: torch.nn.Module | None,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Compute causal attention within each row. The signature is that of transformers' attention interface.

    `query`, `key` and `value` have the shape [1, heads, tokens, width]. The result has the shape [1, tokens, heads,
    width]. `cu_seq_lens_q` holds the start of each row, then the total number of tokens. For example, [0, 3, 8] means
    two rows with 3 and 5 tokens. If `cu_seq_lens_q` is None, each entry of the batch is one row. Raises ValueError for
    a padded batch, because attention masks are not supported.
    """
    import torch

    if attention_mask is not None:
        raise ValueError("torch_varlen requires rows without padding (padding_free); use sdpa for padded batches")
    if cu_seq_lens_q is None:  # a batch of rows of equal length, e.g. in generation
        return _attend_per_row(query, key, value, [(0, query.shape[2])], scaling, sliding_window), None
    if not query.is_cuda:
        bounds = list(itertools.pairwise(cu_seq_lens_q.tolist()))
        return _attend_per_row(query, key, value, bounds, scaling, sliding_window), None
    # The kernel expects 16-bit tensors of shape [tokens, heads, width] and handles grouped key/value heads itself.
    q, k, v = (t.transpose(1, 2)[0].to(torch.bfloat16) for t in (query, key, value))
    out = torch.ops.aten._flash_attention_forward(
        q, k, v, cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q, 0.0, True, False, scale=scaling,
        window_size_left=None if sliding_window is None else sliding_window - 1,
        window_size_right=None if sliding_window is None else 0,
    )[0]  # fmt: skip
    return out[None].to(query.dtype), None


def _attend_per_row(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: list[tuple[int, int]],
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    """Compute attention for each row separately. `bounds` holds the (start, end) of each row.

    If there is only one row, it may have more keys than queries, as in generation with a key-value cache.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    rows = []
    for start, end in bounds:
        q, k, v = query[:, :, start:end], key, value
        if len(bounds) > 1:
            k, v = key[:, :, start:end], value[:, :, start:end]
        n = q.shape[2]
        n_cached = k.shape[2] - n
        mask = None
        if n_cached or (sliding_window and n > sliding_window):
            query_position = torch.arange(n, device=q.device)[:, None] + n_cached
            key_position = torch.arange(n + n_cached, device=q.device)[None]
            window = sliding_window or n + n_cached
            mask = (key_position <= query_position) & (key_position > query_position - window)
        causal = mask is None
        rows.append(
            scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scaling, enable_gqa=True)
        )
    return torch.cat(rows, 2).transpose(1, 2).contiguous()
