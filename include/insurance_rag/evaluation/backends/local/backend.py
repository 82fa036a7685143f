"""Base and adapters in one process: one load, mixed batches sorted by length, as large as the memory allows."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import GpuMemoryError, InvalidInputError
from insurance_rag.core.hashing import model_identity
from insurance_rag.evaluation.backends.local.batched_lora import BatchedLora, is_plain, read_adapter_config
from insurance_rag.evaluation.backends.local.generate_decode import generate_batch
from insurance_rag.evaluation.backends.local.model import BaseModelSpec, load_base, load_tokenizer
from insurance_rag.evaluation.backends.local.sampling import StopRule, uniform_noise
from insurance_rag.evaluation.backends.local.static_decode import StaticDecoder, supports
from insurance_rag.evaluation.requests import GenerationRequest, Reply

log = logging.getLogger(__name__)

#: Padded tokens in one batch on a CPU: beyond this larger batches are no quicker.
CPU_BATCH_TOKENS = 131_072


class LocalBackend:
    """The base with all adapters attached. Use as a context manager: its memory is freed at the end."""

    def __init__(self, base_model: str, adapters: Mapping[str, Path], config: EvaluationConfig) -> None:
        hint = "only plain LoRA adapters can be mixed in one batch; try --reference"
        odd = [f"{d}: {hint}" for d in adapters.values() if not is_plain(read_adapter_config(d))]
        if odd:
            raise InvalidInputError(odd)
        self.config = config
        trained = BaseModelSpec.of(adapters, base_model)
        self.tokenizer = load_tokenizer(base_model, trained.revision)
        self.model, self.precision = load_base(base_model, config.precision, trained)
        self.lora = BatchedLora(self.model, adapters) if adapters else None
        self.static = config.engine == "static" or (config.engine == "auto" and supports(self.model.config))
        if config.engine == "static" and not supports(self.model.config):
            raise InvalidInputError(
                f"engine static: does not cover {self.model.config.model_type}; use auto or generate"
            )
        base = f"{model_identity(base_model)} {self.precision} {trained}"
        self.identities = {"Base": base} | {name: f"{base} {model_identity(str(d))}" for name, d in adapters.items()}

    def __enter__(self) -> LocalBackend:
        return self

    def __exit__(self, *_: object) -> None:
        del self.model, self.lora
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def context_limit(self) -> int:
        """Tokens of prompt and answer together."""
        return int(self.model.config.max_position_embeddings)

    def count_tokens(self, text: str) -> int:
        return len(self._tokens(text))

    def answer(
        self,
        asks: Sequence[GenerationRequest],
        decoding: DecodingConfig,
        on_reply: Callable[[GenerationRequest, Reply], None],
    ) -> None:
        """Answer all; `on_reply` is called as answers are finished, in no order."""
        prompts = {ask.key: self._tokens(ask.prompt) for ask in asks}
        order = sorted(asks, key=lambda ask: len(prompts[ask.key]), reverse=True)
        waiting = list(self._batches(order, prompts, decoding))
        while waiting:
            batch = waiting.pop(0)
            try:
                self._answer_batch(batch, prompts, decoding, on_reply)
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                if len(batch) == 1:
                    raise GpuMemoryError(
                        "one answer does not fit the GPU: set precision=nf4 or fewer clauses"
                    ) from None
                log.warning("a batch of %d does not fit the GPU memory; it is halved", len(batch))
                half = len(batch) // 2
                waiting[:0] = [batch[:half], batch[half:]]

    def _answer_batch(
        self,
        batch: list[GenerationRequest],
        prompts: Mapping[str, list[int]],
        decoding: DecodingConfig,
        on_reply: Callable[[GenerationRequest, Reply], None],
    ) -> None:
        rule = StopRule(self.tokenizer, self._eos(), decoding)
        noise = uniform_noise([ask.noise_identity for ask in batch], decoding.max_new_tokens, decoding.seed)
        tokens = [prompts[ask.key] for ask in batch]
        started, done = time.perf_counter(), set[int]()
        if self.lora:
            self.lora.select([ask.model for ask in batch])

        def finished(row: int, answer: list[int]) -> None:
            if row in done:
                return  # said before the memory ran out
            done.add(row)
            seconds = (time.perf_counter() - started) / len(batch)
            on_reply(batch[row], Reply(rule.text(answer), len(answer), round(seconds, 4)))

        if self.static:
            StaticDecoder(self.model, self.lora, tokens, noise, decoding).run(rule, finished)
        else:
            generate_batch(self.model, tokens, noise, decoding, rule, finished)

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return ids[:-1] if ids and ids[-1] == self.tokenizer.eos_token_id else ids

    def _eos(self) -> frozenset[int]:
        named = self.model.generation_config.eos_token_id
        ids = {self.tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
        return frozenset(ids)

    def _batches(
        self, order: list[GenerationRequest], prompts: Mapping[str, list[int]], decoding: DecodingConfig
    ) -> Iterator[list[GenerationRequest]]:
        """Cut the asks, longest prompt first, so that rows times longest row stays within the budget."""
        budget, batch, length = self.config.batch_tokens or self._budget(), list[GenerationRequest](), 0
        for ask in order:
            length = length or len(prompts[ask.key]) + decoding.max_new_tokens
            if batch and (len(batch) + 1) * length > budget:
                yield batch
                batch, length = [], len(prompts[ask.key]) + decoding.max_new_tokens
            batch.append(ask)
        if batch:
            yield batch

    def _budget(self) -> int:
        """Tokens whose keys and values take 70 % of the free GPU memory; the rest is for activations and logits."""
        if not torch.cuda.is_available():
            return CPU_BATCH_TOKENS
        config: Any = self.model.config
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        a_token = 2 * config.num_hidden_layers * config.num_key_value_heads * width * self.model.dtype.itemsize
        torch.cuda.empty_cache()  # what torch holds back counts as taken
        free, _ = torch.cuda.mem_get_info()
        return int(0.7 * free / a_token)
