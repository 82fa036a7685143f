"""The reference design's evaluation procedure (docs/origin.md), kept for comparison.

The procedure loads one model at a time, merges the adapter into the 4-bit weights, and answers one request at a time.
Merging into NF4 rounds most of a small adapter away, so the evaluated model differs from the trained one.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from insurance_rag.config import DecodingConfig
from insurance_rag.core.hashing import model_identity, sha256_text
from insurance_rag.core.prompt_templates import PROMPT_FORMATS
from insurance_rag.evaluation.backends.base import OnAnswer
from insurance_rag.evaluation.backends.local.inference_model import load_inference_model
from insurance_rag.evaluation.backends.local.sampling import StopRule
from insurance_rag.evaluation.backends.prompt_tokens import PromptTokens
from insurance_rag.evaluation.requests import BASE, GeneratedAnswer, GenerationRequest, check_prompt_penalty
from insurance_rag.models.base_model import load_model_config
from insurance_rag.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ReferenceBackend:
    """Loads one model at a time: the base model, or the base model merged with an adapter."""

    def __init__(self, base_model: str, adapters: Mapping[str, Path]) -> None:
        """Load the tokenizer. `adapters` maps names to folders. Raises InvalidInputError if there is no tokenizer."""
        self.base_model, self.adapters = base_model, adapters
        self.tokenizer = load_tokenizer(base_model)
        self.prompt_tokens = PromptTokens(self.tokenizer)
        base = f"{model_identity(base_model)} merged into nf4"
        self.identities = {BASE: base} | {name: f"{base} {model_identity(str(d))}" for name, d in adapters.items()}

    def __enter__(self) -> ReferenceBackend:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing, because no model is kept in memory after `answer`."""

    @property
    def context_limit(self) -> int:
        """Maximum number of tokens in the prompt and the answer together."""
        return int(load_model_config(self.base_model).max_position_embeddings)

    def count_tokens(self, prompt: str, prompt_format: str) -> int:
        """Return the number of tokens in a prompt."""
        return len(self._encode(prompt, prompt_format))

    def _encode(self, prompt: str, prompt_format: str) -> list[int]:
        if PROMPT_FORMATS[prompt_format].chat:
            return self.prompt_tokens.encode(prompt, prompt_format)
        ids: list[int] = self.tokenizer(prompt)["input_ids"]
        return ids

    def answer(self, requests: Sequence[GenerationRequest], decoding: DecodingConfig, on_answer: OnAnswer) -> None:
        """Answer all requests, one model after another.

        `generate` always applies the repetition penalty to the prompt's tokens, too. Raises InvalidInputError if
        `decoding` restricts the penalty to generated tokens.
        """
        check_prompt_penalty("the reference design's procedure", decoding)
        for name in dict.fromkeys(request.model for request in requests):
            model = self._load(name)
            rule = StopRule(self.tokenizer, self.prompt_tokens.end_tokens(model), decoding)
            for request in requests:
                if request.model == name:
                    on_answer(request, self._generate(model, request, decoding, rule))
            del model
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _load(self, name: str) -> PreTrainedModel:
        model, _ = load_inference_model(self.base_model, "nf4")
        if name in self.adapters:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, self.adapters[name]).merge_and_unload()
        return model.eval()

    @torch.inference_mode()
    def _generate(
        self, model: PreTrainedModel, request: GenerationRequest, decoding: DecodingConfig, rule: StopRule
    ) -> GeneratedAnswer:
        ids = torch.tensor([self._encode(request.prompt, request.prompt_format)], device=model.device)
        # The seed depends on the request, so that an answer does not depend on earlier answers.
        torch.manual_seed(int(sha256_text(request.noise_identity, str(decoding.seed))[:15], 16))
        sampling = {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p}
        started = time.perf_counter()
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            eos_token_id=sorted(rule.eos),
            **(sampling if decoding.temperature else {"do_sample": False}),
            max_new_tokens=decoding.max_new_tokens,
            repetition_penalty=decoding.repetition_penalty,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        tokens, _ = rule.truncate(output[0, ids.shape[1] :].tolist())
        return GeneratedAnswer(rule.decode(tokens), len(tokens), round(time.perf_counter() - started, 4))
