"""The local backend: loads the base model and all adapters once, and answers in batches that mix all models.

The weights are loaded for the first request. If an evaluation is repeated and no answer is missing, they are not loaded
at all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import model_identity
from insurance_rag.evaluation.backends.base import OnAnswer
from insurance_rag.evaluation.backends.local.adapter_weights import adapter_problem
from insurance_rag.evaluation.backends.local.attached_model import AttachedModel, make_batches, run_batches
from insurance_rag.evaluation.backends.local.generate_decode import generate_batch
from insurance_rag.evaluation.backends.local.inference_model import resolve_precision
from insurance_rag.evaluation.backends.local.sampling import StopRule, uniform_noise
from insurance_rag.evaluation.backends.local.static_decode import StaticDecoder, supports_static_decoding
from insurance_rag.evaluation.backends.prompt_tokens import PromptTokens
from insurance_rag.evaluation.requests import BASE, GeneratedAnswer, GenerationRequest
from insurance_rag.models.base_model import load_model_config
from insurance_rag.models.tokenizer import load_tokenizer

CPU_BATCH_TOKENS = 131_072
"""Maximum number of tokens per batch on a CPU, including padding. Larger batches are not faster."""
GPU_CACHE_SHARE = 0.7
"""Fraction of the free GPU memory that the key/value cache may fill. The rest is for activations and logits."""


class LocalBackend(AttachedModel):
    """The base model and all adapters, which answer requests."""

    def __init__(self, base_model: str, adapters: Mapping[str, Path], config: EvaluationConfig) -> None:
        """Load the tokenizer and the model's configuration. `adapters` maps names to folders.

        Raises InvalidInputError if an adapter is of a kind that cannot share a batch. Also raises it if `config.engine`
        is `static` but the static decoding loop does not support the model's architecture.
        """
        _check_adapters(adapters)
        super().__init__(base_model, adapters)
        self.config = config
        self.tokenizer = load_tokenizer(base_model, self.spec.revision)
        self.prompt_tokens = PromptTokens(self.tokenizer)
        self.model_config = load_model_config(base_model, self.spec.revision)
        self.precision = resolve_precision(config.precision, self.model_config, self.spec)
        supported = supports_static_decoding(self.model_config)
        if config.engine == "static" and not supported:
            raise InvalidInputError(
                f"engine=static does not support {self.model_config.model_type}; set engine=auto or engine=generate"
            )
        self.static = config.engine != "generate" and supported
        base = f"{model_identity(base_model)} {self.precision} {self.spec}"
        self.identities = {BASE: base} | {name: f"{base} {model_identity(str(d))}" for name, d in adapters.items()}

    def load(self) -> None:
        """Load the weights of all models, unless they are loaded already. `answer` calls this method."""
        _ = self.model, self.lora

    @property
    def context_limit(self) -> int:
        """Maximum number of tokens in the prompt and the answer together."""
        return int(self.model_config.max_position_embeddings)

    def count_tokens(self, prompt: str, prompt_format: str) -> int:
        """Return the number of tokens in a prompt.

        Raises InvalidInputError if the format has chat messages and the tokenizer has no chat template that can be
        used.
        """
        return len(self.prompt_tokens.encode(prompt, prompt_format))

    def answer(self, requests: Sequence[GenerationRequest], decoding: DecodingConfig, on_answer: OnAnswer) -> None:
        """Answer all requests, in any order. Call `on_answer` for each answer as soon as it is finished.

        A batch that does not fit into GPU memory is split in half. Raises GpuMemoryError if a single answer does not
        fit, and InvalidInputError if the model or an adapter cannot be loaded.
        """
        self.load()
        prompts = {
            request.key: self.prompt_tokens.encode(request.prompt, request.prompt_format) for request in requests
        }
        longest_first = sorted(requests, key=lambda request: len(prompts[request.key]), reverse=True)
        batches = make_batches(
            longest_first,
            lambda request: len(prompts[request.key]) + decoding.max_new_tokens,
            self.config.batch_tokens or self._token_budget(),
        )
        run_batches(
            batches,
            lambda batch: self._answer_batch(batch, prompts, decoding, on_answer),
            "set precision=nf4 or a smaller retrieval.top_k",
        )

    def _answer_batch(
        self,
        batch: list[GenerationRequest],
        prompts: Mapping[str, list[int]],
        decoding: DecodingConfig,
        on_answer: OnAnswer,
    ) -> None:
        rule = StopRule(self.tokenizer, self.prompt_tokens.end_tokens(self.model), decoding)
        noise = uniform_noise([request.noise_identity for request in batch], decoding.max_new_tokens, decoding.seed)
        tokens = [prompts[request.key] for request in batch]
        started, delivered = time.perf_counter(), set[int]()
        self.select([request.model for request in batch])

        def on_finished(row: int, answer: list[int]) -> None:
            if row in delivered:
                return
            delivered.add(row)
            seconds = (time.perf_counter() - started) / len(batch)
            on_answer(batch[row], GeneratedAnswer(rule.decode(answer), len(answer), round(seconds, 4)))

        if self.static:
            StaticDecoder(self.model, self.lora, tokens, noise, decoding).run(rule, on_finished)
        else:
            generate_batch(self.model, tokens, noise, decoding, rule, on_finished)

    def _token_budget(self) -> int:
        """Return the maximum number of tokens per batch. On a GPU, the key/value cache sets the limit."""
        if not torch.cuda.is_available():
            return CPU_BATCH_TOKENS
        config = self.model.config
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        bytes_per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * width * self.model.dtype.itemsize
        torch.cuda.empty_cache()  # otherwise memory cached by torch would count as used
        free_bytes, _ = torch.cuda.mem_get_info()
        return int(GPU_CACHE_SHARE * free_bytes / bytes_per_token)


def _check_adapters(adapters: Mapping[str, Path]) -> None:
    found = {folder: adapter_problem(folder) for folder in adapters.values()}
    problems = [f"{folder}: cannot share a batch: {problem}" for folder, problem in found.items() if problem]
    if problems:
        raise InvalidInputError(problems)
