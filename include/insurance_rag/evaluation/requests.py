"""What a model is asked: the prompt of one question, and the key by which its answer is stored.

Every model gets the prompt format `rag`. The adapter v1 was trained on another format, but that one does not ask for
refusals, so refusals could not be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from insurance_rag.config import DecodingConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.prompt_templates import PROMPT_FORMATS

BASE = "Base"
"""Name of the base model without an adapter."""
PROMPT_FORMAT = "rag"
CHUNK_SEPARATOR = "\n\n"
ANSWERS_VERSION = "2"
"""Part of every answer key. Raise it when unchanged settings generate different answers: all are generated again."""


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt for one model."""

    key: str
    """Hash of everything that the answer depends on; stored answers are reused by it."""
    model: str
    question_id: str
    prompt: str

    @property
    def noise_identity(self) -> str:
        """Seed of the sampling: the same for all models, so that they are compared on the same random numbers."""
        return self.question_id


@dataclass(frozen=True)
class GeneratedAnswer:
    """A model's answer as generated, before post-processing."""

    text: str
    new_tokens: int
    seconds: float
    """The answer's share of the time of its batch."""


def build_prompt(question: str, context: str) -> str:
    """Return the prompt of a question with its context."""
    return PROMPT_FORMATS[PROMPT_FORMAT].prompt(question, context)


def check_prompt_penalty(backend: str, decoding: DecodingConfig) -> None:
    """Raise InvalidInputError if the penalty is configured for generated tokens only, which `backend` cannot do."""
    if decoding.repetition_penalty != 1 and decoding.penalty_scope == "generated":
        raise InvalidInputError(
            f"{backend}: its repetition_penalty counts the prompt's tokens too; use --decoding after or "
            "--set decoding.repetition_penalty=1.0"
        )


def answer_key(prompt: str, question_id: str, identity: str, decoding: DecodingConfig) -> str:
    """Return the key of an answer. `identity` identifies the model and its weights.

    Settings without influence on the generated text are left out: those that only cut it, and in greedy decoding those
    of the sampling.
    """
    cuts = {"stop_phrases", "trim_foreign_tail"}
    unused = {"seed", "top_p"} if decoding.temperature == 0 else set()
    return sha256_text(ANSWERS_VERSION, prompt, question_id, identity, decoding.model_dump_json(exclude=cuts | unused))
