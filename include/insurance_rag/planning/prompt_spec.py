"""The prompt specification for a run, and the cache keys that identify its answers.

A cache key depends on the content of a request, never on the position of a chunk. Resuming, retrying, backfilling and
refreshing are therefore one operation: request the answers whose cache keys are missing.
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
"""Name of the file whose text a repair request appends to the prompt. The file cannot be configured as a prompt."""


@dataclass(frozen=True)
class PromptSpec:
    """Everything in a request, apart from the chunk, that determines which pairs the teacher generates."""

    teacher: str
    model: str
    prompt: str
    """Name of a file in generation/prompts, without the .txt suffix."""
    types: tuple[QuestionType, ...]
    pairs_per_type: int

    @classmethod
    def from_config(cls, config: GenerationConfig) -> PromptSpec:
        """Return the specification for `config`. If `config` names no prompt, use the teacher's default prompt."""
        teacher: TeacherInfo = registry("teacher")[config.teacher]
        prompt = config.prompt or teacher.default_prompt
        return cls(config.teacher, config.model, prompt, tuple(config.types), config.pairs_per_type)

    @cached_property
    def template(self) -> str:
        """Text of the prompt file. If it is missing, raises an InvalidInputError that lists the available prompts."""
        path = PROMPTS / f"{self.prompt}.txt"
        if not path.is_file():
            available = ", ".join(sorted(p.stem for p in PROMPTS.glob("*.txt") if p.stem != REPAIR_PROMPT))
            raise InvalidInputError(
                f"unknown prompt {self.prompt!r}: no such file in {PROMPTS}; available: {available}"
            )
        return path.read_text(encoding="utf-8")

    @cached_property
    def prompt_version(self) -> str:
        """Name of the prompt and hash of its text, so that editing the prompt creates a new version."""
        return f"{self.prompt}@{sha256_text(self.template)[:10]}"

    def cache_key(self, chunk: Chunk) -> str:
        """Return the cache key for the chunk's answer: 64 hexadecimal digits.

        The key depends on the product name, which is part of the prompt. It does not depend on the chunk id.
        """
        requested = f"{','.join(self.types)} x{self.pairs_per_type}"
        return sha256_text(chunk.text, product_name(chunk), self.prompt_version, self.teacher, self.model, requested)


def product_name(chunk: Chunk) -> str:
    """Return the company and product for use in questions, e.g. `한빛생명 한빛 든든 암보험`."""
    name = chunk.metadata.breadcrumbs.split(">")[0].strip()
    company = chunk.metadata.company.strip()
    return name if name.startswith(company) else f"{company} {name}".strip()
