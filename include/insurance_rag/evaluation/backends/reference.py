"""The evaluation procedure of the reference design, kept for comparison (docs/origin.md).

It loads each model, merges the adapter into the 4-bit weights, and answers one request at a time. Merging into NF4
rounds most of a small adapter away, so it evaluates another model than the one that was trained.
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
from insurance_rag.evaluation.backends.base import OnAnswer
from insurance_rag.evaluation.backends.local.inference_model import load_inference_model
from insurance_rag.evaluation.backends.local.sampling import StopRule
from insurance_rag.evaluation.requests import BASE, GeneratedAnswer, GenerationRequest, check_prompt_penalty
from insurance_rag.models.base_model import load_model_config
from insurance_rag.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ReferenceBackend:
    """Has the interface of `LocalBackend` and loads one model after the other."""

    def __init__(self, base_model: str, adapters: Mapping[str, Path]) -> None:
        """Load the tokenizer. `adapters` maps names to folders. Raises InvalidInputError if there is none."""
        self.base_model, self.adapters = base_model, adapters
        self.tokenizer = load_tokenizer(base_model)
        base = f"{model_identity(base_model)} merged into nf4"
        self.identities = {BASE: base} | {name: f"{base} {model_identity(str(d))}" for name, d in adapters.items()}

    def __enter__(self) -> ReferenceBackend:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: no model is kept between two calls."""

    @property
    def context_limit(self) -> int:
        """Tokens of prompt and answer together."""
        return int(load_model_config(self.base_model).max_position_embeddings)

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a prompt."""
        return len(self.tokenizer(text)["input_ids"])

    def answer(self, requests: Sequence[GenerationRequest], decoding: DecodingConfig, on_answer: OnAnswer) -> None:
        """Answer all requests, model after model.

        Raises InvalidInputError for a repetition penalty that counts generated tokens only: `generate` cannot do that.
        """
        check_prompt_penalty("the procedure of the reference design", decoding)
        for name in dict.fromkeys(request.model for request in requests):
            model = self._load(name)
            rule = StopRule(self.tokenizer, frozenset({self.tokenizer.eos_token_id}), decoding)
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
        inputs = self.tokenizer(request.prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
        # The seed depends on the request, so that an answer does not depend on those before it.
        torch.manual_seed(int(sha256_text(request.noise_identity, str(decoding.seed))[:15], 16))
        sampling = {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p}
        started = time.perf_counter()
        output = model.generate(
            **inputs,
            **(sampling if decoding.temperature else {"do_sample": False}),
            max_new_tokens=decoding.max_new_tokens,
            repetition_penalty=decoding.repetition_penalty,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        tokens, _ = rule.truncate(output[0, inputs["input_ids"].shape[1] :].tolist())
        return GeneratedAnswer(rule.decode(tokens), len(tokens), round(time.perf_counter() - started, 4))
