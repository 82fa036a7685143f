"""Compute the losses of the models of a local backend on plain text."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from insurance_rag.evaluation.backends.local.backend import LocalBackend
from insurance_rag.models.tokenizer import encode_prompt


def encode_windows(backend: LocalBackend, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the first tokens of each text, at most `max_tokens`. Texts without a token to predict are left out."""
    start = encode_prompt(backend.tokenizer, "")  # the token that begins every text, if the tokenizer has one
    limit = min(max_tokens, backend.context_limit)
    encoded = [[*start, *backend.tokenizer(text, add_special_tokens=False)["input_ids"]] for text in texts]
    return [window[:limit] for window in encoded if len(window) > 1]


def window_losses(backend: LocalBackend, model: str, windows: Sequence[Sequence[int]]) -> list[float]:
    """Return the sum of the losses of the tokens in each window, in nats. The first token is not predicted."""
    backend.load()
    backend.select([model])
    losses = []
    for window in windows:
        ids = torch.tensor([window], device=backend.model.device)
        with torch.inference_mode():
            logits = backend.model(input_ids=ids, use_cache=False).logits[0, :-1].float()
            losses.append(float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum")))
    return losses
