"""The prompt specification of a run and the cache key of an answer.

An answer is identified by what was asked and how, never by the position of its chunk. So resuming, retrying,
backfilling and refreshing are one operation: request the cache keys that are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, QuestionType
from insurance_rag.core.records.generation import TeacherInfo
from insurance_rag.core.registry import registry

PROMPTS = Path(__file__).parents[1] / "generation" / "prompts"
REPAIR_PROMPT = "repair_v1"
"""File that is appended to the prompt when faulty pairs are requested again. It is not a prompt of its own."""


@dataclass(frozen=True)
class PromptSpec:
    """Everything about a request, apart from the chunk, that determines which pairs come back."""

    teacher: str
    model: str
    prompt: str
    """Name of a file in generation/prompts."""
    types: tuple[QuestionType, ...]
    pairs_per_type: int

    @classmethod
    def from_config(cls, config: GenerationConfig) -> PromptSpec:
        """Return the specification of a configuration. A prompt that is not configured is the teacher's default."""
        teacher: TeacherInfo = registry("teacher")[config.teacher]
        prompt = config.prompt or teacher.default_prompt
        return cls(config.teacher, config.model, prompt, tuple(config.types), config.pairs_per_type)

    @cached_property
    def template(self) -> str:
        """Text of the prompt file. Raises InvalidInputError that lists the available prompts."""
        path = PROMPTS / f"{self.prompt}.txt"
        if not path.is_file():
            available = ", ".join(sorted(p.stem for p in PROMPTS.glob("*.txt") if p.stem != REPAIR_PROMPT))
            raise InvalidInputError(
                f"unknown prompt {self.prompt!r}: no such file in {PROMPTS}; available: {available}"
            )
        return path.read_text(encoding="utf-8")

    @cached_property
    def prompt_version(self) -> str:
        """Name of the prompt and hash of its text, so that an edited prompt is another version."""
        return f"{self.prompt}@{sha256_text(self.template)[:10]}"

    def cache_key(self, chunk: Chunk) -> str:
        """Return the key of the chunk's answer, 64 hexadecimal digits.

        The product name is part of the prompt, so it counts. The chunk id does not.
        """
        requested = f"{','.join(self.types)} x{self.pairs_per_type}"
        return sha256_text(chunk.text, product_name(chunk), self.prompt_version, self.teacher, self.model, requested)


def product_name(chunk: Chunk) -> str:
    """Return company and product, which make a question understandable on its own: `한빛생명 한빛 든든 암보험`."""
    name = chunk.metadata.breadcrumbs.split(">")[0].strip()
    company = chunk.metadata.company.strip()
    return name if name.startswith(company) else f"{company} {name}".strip()
