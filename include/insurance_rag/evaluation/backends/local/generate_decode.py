"""Decoding with transformers' `generate`, for architectures that the static decoding loop does not support."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from insurance_rag.config import DecodingConfig
from insurance_rag.evaluation.backends.local.sampling import CHECK_INTERVAL, StopRule, next_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _ChooseToken(LogitsProcessor):
    """Chooses the next token and excludes all others. `generate` then samples like the static decoding loop."""

    def __init__(
        self, prompt_length: int, penalized: torch.Tensor, noise: torch.Tensor, decoding: DecodingConfig
    ) -> None:
        self.prompt_length, self.penalized, self.noise, self.decoding = prompt_length, penalized, noise, decoding

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - self.prompt_length
        chosen = next_tokens(scores.float(), self.penalized, self.noise[:, step], self.decoding)[:, None]
        self.penalized.scatter_(1, chosen, True)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


class _StopWhenFinished(StoppingCriteria):
    """Stops the rows that are finished according to the stop rule, checking every CHECK_INTERVAL steps."""

    def __init__(self, prompt_length: int, rule: StopRule) -> None:
        self.prompt_length, self.rule = prompt_length, rule

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        n_generated = input_ids.shape[1] - self.prompt_length
        if n_generated % CHECK_INTERVAL:
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        finished = [self.rule.truncate(tokens)[1] for tokens in input_ids[:, self.prompt_length :].tolist()]
        return torch.tensor(finished, device=input_ids.device)


@torch.inference_mode()
def generate_batch(
    model: PreTrainedModel,
    prompts: list[list[int]],
    noise: torch.Tensor,
    decoding: DecodingConfig,
    rule: StopRule,
    on_finished: Callable[[int, list[int]], None],
) -> None:
    """Answer one batch of prompts (lists of token ids), then call `on_finished(row, tokens)` for every row.

    `noise` has the shape [rows, max_new_tokens]. Prompts are padded on the left, as `generate` requires.
    """
    device, longest, pad = next(model.parameters()).device, max(map(len, prompts)), min(rule.eos)
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=device)
    attention_mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    vocabulary = model.get_output_embeddings().weight.shape[0]
    penalized = torch.zeros(len(prompts), vocabulary, dtype=torch.bool, device=device)
    if decoding.penalty_scope == "prompt":
        for row, prompt in enumerate(prompts):
            penalized[row, prompt] = True
    settings = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens, do_sample=False, pad_token_id=pad, eos_token_id=sorted(rule.eos)
    )
    output = model.generate(
        input_ids=ids,
        attention_mask=attention_mask,
        generation_config=settings,
        logits_processor=[_ChooseToken(longest, penalized, noise.to(device), decoding)],
        stopping_criteria=[_StopWhenFinished(longest, rule)],
    )
    for row, tokens in enumerate(output[:, longest:].tolist()):
        on_finished(row, rule.truncate(tokens)[0])
