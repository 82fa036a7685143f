"""The local teacher: a 4-bit Hugging Face model that writes pairs as `질문: ... 답변: ...`.

The teacher discards pairs that are not grounded (see `is_grounded`).
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from insurance_rag.core.errors import InvalidAnswerError
from insurance_rag.generation.teachers.base import Pair, TeacherAnswer, TeacherRequest
from insurance_rag.generation.teachers.registry import teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from insurance_rag.config import GenerationConfig
    from insurance_rag.core.records import ApiKey, Chunk, QuestionType
    from insurance_rag.generation.prompt import ChunkRequest
    from insurance_rag.planning.prompt_spec import PromptSpec

PAIR_RETRIES = 3
"""Maximum number of retries per pair, as in the reference design."""
MAX_NEW_TOKENS = 256


class LocalTeacher:
    """Runs a 4-bit (NF4) Hugging Face model on this machine. The model is loaded on first use."""

    max_retries = 0
    """Always 0: the teacher itself retries individual pairs, so that good pairs are not generated again."""

    def __init__(self, config: GenerationConfig, prompt_spec: PromptSpec) -> None:
        self._config, self._prompt_spec = config, prompt_spec
        self._lock = threading.Lock()
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None

    async def close(self) -> None:
        """Release the model."""
        self._loaded = None

    def request_characters(self, request: TeacherRequest) -> int:
        """Return the number of characters in the prompts of all pairs."""
        from insurance_rag.generation.prompt import render_local

        return sum(
            len(render_local(self._prompt_spec, chunk.chunk, pair.type))
            for chunk in request.chunks
            for pair in chunk.pairs
        )

    async def generate(self, request: TeacherRequest) -> TeacherAnswer:
        """Return grounded pairs for the only chunk in `request`.

        Raises InvalidAnswerError if no pair is grounded, and InvalidInputError if the model cannot be loaded.
        """
        assert not request.repair, "the local teacher is registered without support for repairs"
        (chunk,) = request.chunks
        return await asyncio.to_thread(self._generate_pairs, chunk)

    def _generate_pairs(self, request: ChunkRequest) -> TeacherAnswer:
        with self._lock:
            answers = [self._generate_pair(request.chunk, pair.type) for pair in request.pairs]
        pairs = [pair for answer in answers for pair in answer.pairs[0]]
        if not pairs:
            types = ", ".join(dict.fromkeys(pair.type for pair in request.pairs))
            raise InvalidAnswerError(f"no grounded pair in {1 + PAIR_RETRIES} tries per type ({types})")
        return TeacherAnswer([pairs], sum(a.tokens_in for a in answers), sum(a.tokens_out for a in answers))

    def _generate_pair(self, chunk: Chunk, kind: QuestionType) -> TeacherAnswer:
        """Return an answer with one grounded pair, or with none if every try failed. Token counts cover all tries."""
        from insurance_rag.generation.parse import parse_labelled
        from insurance_rag.generation.prompt import render_local

        prompt = render_local(self._prompt_spec, chunk, kind)
        tokens_in = tokens_out = 0
        for _ in range(1 + PAIR_RETRIES):
            text, read, written = self._complete(prompt)
            tokens_in, tokens_out = tokens_in + read, tokens_out + written
            try:
                question, answer = parse_labelled(f"질문: {text}")[0]
            except InvalidAnswerError:
                continue
            if is_grounded(answer, chunk.text):
                return TeacherAnswer([[Pair(kind, question, answer)]], tokens_in, tokens_out)
        return TeacherAnswer([[]], tokens_in, tokens_out)

    def _complete(self, prompt: str) -> tuple[str, int, int]:
        """Return the model's continuation of `prompt` and the numbers of input and output tokens."""
        import torch

        from insurance_rag.llm.catalog import temperature as configured_temperature

        temperature = configured_temperature(self._config)
        model, tokenizer = self._loaded or self._load()
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
        length = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=MAX_NEW_TOKENS,
                do_sample=temperature > 0,
                temperature=temperature or None,
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
            )
        new = output[0, length:]
        return tokenizer.decode(new, skip_special_tokens=True), length, len(new)

    def _load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        import torch

        from insurance_rag.models.base_model import load_base_model
        from insurance_rag.models.quantization import nf4_config
        from insurance_rag.models.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(self._config.model)
        quantization = nf4_config(torch.bfloat16, double_quantization=True)
        model = load_base_model(self._config.model, torch.bfloat16, quantization=quantization)
        self._loaded = (model.eval(), tokenizer)
        return self._loaded


@teacher(
    "local",
    title="Local model",
    description="A 4-bit Hugging Face model on this machine's GPU or CPU.",
    default_prompt="local_v1",
    supports_repair=False,
    supports_packs=False,
    required_packages=("torch", "transformers"),
)
def create_local_teacher(config: GenerationConfig, key: ApiKey, prompt_spec: PromptSpec) -> LocalTeacher:
    """Return a local teacher. The key is ignored."""
    return LocalTeacher(config, prompt_spec)


def is_grounded(answer: str, chunk_text: str) -> bool:
    """Return whether every number, time period and article number in the answer is supported by the chunk."""
    from insurance_rag.korean.articles import unsupported_articles
    from insurance_rag.korean.calculations import unsupported_quantities

    return not unsupported_quantities(answer, chunk_text) and not unsupported_articles(answer, chunk_text)
