"""transformers' own `generate`, for the architectures that the static loop does not cover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from insurance_rag.config import DecodingConfig
from insurance_rag.evaluation.backends.local.sampling import CHECK_EVERY, StopRule, next_tokens


class _Choice(LogitsProcessor):
    """Makes the choice itself and leaves `generate` no other: penalty and sampling are the same in both loops."""

    def __init__(self, prompt_length: int, used: torch.Tensor, noise: torch.Tensor, decoding: DecodingConfig) -> None:
        self.prompt_length, self.used, self.noise, self.decoding = prompt_length, used, noise, decoding

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - self.prompt_length
        chosen = next_tokens(scores.float(), self.used, self.noise[:, step], self.decoding)[:, None]
        self.used.scatter_(1, chosen, True)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


class _Stop(StoppingCriteria):
    def __init__(self, prompt_length: int, rule: StopRule) -> None:
        self.prompt_length, self.rule = prompt_length, rule

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        made = input_ids.shape[1] - self.prompt_length
        if made % CHECK_EVERY:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        over = [self.rule.cut(tokens)[1] for tokens in input_ids[:, self.prompt_length :].tolist()]
        return torch.tensor(over, device=input_ids.device)


@torch.inference_mode()  # type: ignore[untyped-decorator]
def generate_batch(
    model: Any,
    prompts: list[list[int]],
    noise: torch.Tensor,
    decoding: DecodingConfig,
    rule: StopRule,
    on_finished: Callable[[int, list[int]], None],
) -> None:
    """Answer one batch, padded on the left as `generate` wants it; `on_finished(row, tokens)` for every row."""
    device, longest, pad = next(model.parameters()).device, max(map(len, prompts)), min(rule.eos)
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=device)
    seen = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    used = torch.zeros(len(prompts), model.get_output_embeddings().weight.shape[0], dtype=torch.bool, device=device)
    if decoding.penalty_scope == "prompt":
        for row, prompt in enumerate(prompts):
            used[row, prompt] = True
    settings = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens, do_sample=False, pad_token_id=pad, eos_token_id=sorted(rule.eos)
    )
    made = model.generate(
        input_ids=ids,
        attention_mask=seen,
        generation_config=settings,
        logits_processor=[_Choice(longest, used, noise.to(device), decoding)],
        stopping_criteria=[_Stop(longest, rule)],
    )
    for row, tokens in enumerate(made[:, longest:].tolist()):
        on_finished(row, rule.cut(tokens)[0])
