"""Requests to a model: the prompt for a question, and the key under which the answer is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from insurance_rag.config import DecodingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, ContextChunkText

BASE = "Base"
"""Name under which the base model, without an adapter, is evaluated."""
DEFAULT_FORMAT = "rag"
"""Prompt format for the base model next to adapters with text prompts, and for adapters whose format is not known."""
ANSWERS_VERSION = "2"
"""Part of every answer key. Increment it when a code change alters answers, so that stored answers are not reused."""


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt for one model."""

    key: str
    """Hash of everything that the answer depends on. A stored answer with the same key is reused."""
    model: str
    question_id: str
    prompt: str
    """Text of the prompt. In chat formats, it is the JSON text of the messages (`write_messages`)."""
    prompt_format: str = DEFAULT_FORMAT

    @property
    def noise_identity(self) -> str:
        """Seed for sampling. It is the same for all models, so that all models use the same random numbers."""
        return self.question_id


@dataclass(frozen=True)
class GeneratedAnswer:
    """A model's answer as generated, before post-processing."""

    text: str
    new_tokens: int
    seconds: float
    """Generation time; for a batch of answers, the elapsed time divided by the batch size."""


def build_prompt(question: str, chunks: Iterable[ContextChunkText], prompt_format: str = DEFAULT_FORMAT) -> str:
    """Return the prompt for a question and its context's chunks. Raises InvalidInputError for an unknown format."""
    form = PROMPT_FORMATS[prompt_format]
    return form.prompt(question, form.context(chunks))


def check_prompt_penalty(backend: str, decoding: DecodingConfig) -> None:
    """Raise InvalidInputError if the repetition penalty is restricted to generated tokens.

    Call this function for a backend that does not support this restriction. `backend` is the name of the backend in
    the error message.
    """
    if decoding.repetition_penalty != 1 and decoding.penalty_scope == "generated":
        raise InvalidInputError(
            f"{backend}: its repetition_penalty counts the prompt's tokens too; use --decoding after or "
            "--set decoding.repetition_penalty=1.0"
        )


def answer_key(prompt: str, question_id: str, identity: str, decoding: DecodingConfig) -> str:
    """Return the key under which an answer is stored. `identity` identifies the model and its weights.

    The key leaves out settings that do not affect the generated text. These are the settings that only cut the text
    afterwards. If decoding is greedy, they also include the sampling settings.
    """
    cuts = {"stop_phrases", "trim_foreign_tail"}
    unused = {"seed", "top_p"} if decoding.temperature == 0 else set()
    return sha256_text(ANSWERS_VERSION, prompt, question_id, identity, decoding.model_dump_json(exclude=cuts | unused))
