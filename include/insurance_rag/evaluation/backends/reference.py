"""The source's own way, kept for comparison: load each model anew, merge its adapter into 4 bit, one answer at a time.

It evaluates something else than was trained: merging into NF4 rounds most of a small adapter away.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from insurance_rag.config import DecodingConfig
from insurance_rag.core.hashing import model_identity, sha256_text
from insurance_rag.evaluation.backends.local.model import load_base, load_tokenizer
from insurance_rag.evaluation.backends.local.sampling import StopRule
from insurance_rag.evaluation.requests import GenerationRequest, Reply, check_prompt_penalty


class ReferenceBackend:
    """Same interface as LocalBackend; slow on purpose."""

    def __init__(self, base_model: str, adapters: Mapping[str, Path]) -> None:
        self.base_model, self.adapters = base_model, adapters
        self.tokenizer = load_tokenizer(base_model)
        base = f"{model_identity(base_model)} merged into nf4"
        self.identities = {"Base": base} | {name: f"{base} {model_identity(str(d))}" for name, d in adapters.items()}

    def __enter__(self) -> ReferenceBackend:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held between two models."""

    @property
    def context_limit(self) -> int:
        from transformers import AutoConfig

        return int(AutoConfig.from_pretrained(self.base_model).max_position_embeddings)

    def count_tokens(self, text: str) -> int:
        return len(self.tokenizer(text)["input_ids"])

    def answer(
        self,
        asks: Sequence[GenerationRequest],
        decoding: DecodingConfig,
        on_reply: Callable[[GenerationRequest, Reply], None],
    ) -> None:
        check_prompt_penalty("the source's way", decoding)
        for name in dict.fromkeys(ask.model for ask in asks):
            model = self._load(name)
            rule = StopRule(self.tokenizer, frozenset({self.tokenizer.eos_token_id}), decoding)
            for ask in asks:
                if ask.model == name:
                    on_reply(ask, self._one(model, ask, decoding, rule))
            del model
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _load(self, name: str) -> Any:
        model, _ = load_base(self.base_model, "nf4")
        if name in self.adapters:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, self.adapters[name]).merge_and_unload()
        return model.eval()

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _one(self, model: Any, ask: GenerationRequest, decoding: DecodingConfig, rule: StopRule) -> Reply:
        inputs = self.tokenizer(ask.prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
        torch.manual_seed(int(sha256_text(ask.noise_identity, str(decoding.seed))[:15], 16))  # whatever came before
        sampling = {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p}
        started = time.perf_counter()
        made = model.generate(
            **inputs,
            **(sampling if decoding.temperature else {"do_sample": False}),
            max_new_tokens=decoding.max_new_tokens,
            repetition_penalty=decoding.repetition_penalty,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        tokens, _ = rule.cut(made[0, inputs["input_ids"].shape[1] :].tolist())
        return Reply(rule.text(tokens), len(tokens), round(time.perf_counter() - started, 4))
