"""The local 4-bit teacher of the source's phases 1 and 2: `질문:` / `답변:`, groundedness check, retries."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidAnswerError, InvalidInputError
from insurance_rag.core.records import Chunk, QuestionType
from insurance_rag.generation.parse import parse_labelled
from insurance_rag.generation.prompt import render
from insurance_rag.generation.teachers.base import Correction, Pair, Reply
from insurance_rag.korean.articles import unsupported_articles
from insurance_rag.korean.quantities import unsupported_quantities
from insurance_rag.planning.prompt_spec import PromptSpec

RETRIES = 3  # SPEC section 4
MAX_NEW_TOKENS = 256


class LocalTeacher:
    """A Hugging Face model in NF4 on this machine, one pair at a time. Loaded at the first clause."""

    max_retries = 0  # it retries pair by pair, so that a good pair is not made twice

    def __init__(self, config: GenerationConfig, content: PromptSpec) -> None:
        self._config, self._content = config, content
        self._busy = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    async def close(self) -> None:
        self._loaded = None

    def size(self, chunk: Chunk, correction: Correction | None = None) -> int:
        return len(render(self._content, chunk))

    async def ask(self, chunk: Chunk, correction: Correction | None = None) -> Reply:
        assert correction is None, "it checks and retries pair by pair itself"
        return await asyncio.to_thread(self._ask, chunk)

    def _ask(self, chunk: Chunk) -> Reply:
        with self._busy:
            replies = [
                self._pair(chunk, kind) for kind in self._content.types for _ in range(self._content.pairs_per_type)
            ]
        pairs = [pair for reply in replies for pair in reply.pairs]
        if not pairs:
            raise InvalidAnswerError(
                f"no grounded pair in {1 + RETRIES} tries of each of {', '.join(self._content.types)}"
            )
        return Reply(pairs, sum(r.tokens_in for r in replies), sum(r.tokens_out for r in replies))

    def _pair(self, chunk: Chunk, kind: QuestionType) -> Reply:
        """One pair that rests on the clause; none after three retries."""
        prompt = render(replace(self._content, types=(kind,), pairs_per_type=1), chunk)
        tokens_in = tokens_out = 0
        for _ in range(1 + RETRIES):
            text, read, written = self._generate(prompt)
            tokens_in, tokens_out = tokens_in + read, tokens_out + written
            try:
                question, answer = parse_labelled(f"질문: {text}")[0]
            except InvalidAnswerError:
                continue
            if is_grounded(answer, chunk.text):
                return Reply([Pair(kind, question, answer)], tokens_in, tokens_out)
        return Reply([], tokens_in, tokens_out)

    def _generate(self, prompt: str) -> tuple[str, int, int]:
        """The continuation of `prompt`, tokens read, tokens written."""
        import torch

        model, tokenizer = self._loaded or self._load()
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
        length = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=self._config.temperature > 0,
                temperature=self._config.temperature or None,
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
            )
        new = output[0, length:]
        return tokenizer.decode(new, skip_special_tokens=True), length, len(new)

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

        quantisation = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        device = {"": 0} if torch.cuda.is_available() else {"": "cpu"}
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._config.model)
            model = AutoModelForCausalLM.from_pretrained(
                self._config.model, quantization_config=quantisation, device_map=device, dtype=torch.bfloat16
            )
        except (OSError, ValueError) as e:
            raise InvalidInputError(f"--model {self._config.model}: cannot be loaded ({str(e).splitlines()[0]})") from e
        self._loaded = (model.eval(), tokenizer)
        return self._loaded


def is_grounded(answer: str, clause: str) -> bool:
    """Every number, period and article of the answer stands in the clause."""
    return not unsupported_quantities(answer, clause) and not unsupported_articles(answer, clause)
