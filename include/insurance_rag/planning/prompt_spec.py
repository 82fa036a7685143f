"""What a generated pair is keyed by: the content that was asked about and how, never a position.

Resume, retry, backfill and the weekly refresh are then one operation: ask for the keys that are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, QuestionType

PROMPTS = Path(__file__).parents[1] / "generation" / "prompts"
CORRECTION = "repair_v1"
"""The file that is added to a prompt whose answer was faulty; no prompt by itself."""


@dataclass(frozen=True)
class PromptSpec:
    """How pairs are asked for, as far as it decides what comes back."""

    teacher: str
    model: str
    prompt: str
    types: tuple[QuestionType, ...]
    pairs_per_type: int

    @classmethod
    def from_config(cls, config: GenerationConfig) -> PromptSpec:
        prompt = config.prompt or ("local_v1" if config.teacher == "local" else "qa_v1")
        return cls(config.teacher, config.model, prompt, tuple(config.types), config.pairs_per_type)

    @cached_property
    def template(self) -> str:
        """The prompt file; InvalidInputError lists those there are."""
        path = PROMPTS / f"{self.prompt}.txt"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in PROMPTS.glob("*.txt") if p.stem != CORRECTION))
            raise InvalidInputError(f"prompt {self.prompt!r}: no such file in {PROMPTS}; there are: {known}")
        return path.read_text(encoding="utf-8")

    @cached_property
    def prompt_version(self) -> str:
        """Name and hash of the file's text, so that an edited prompt is another version by itself."""
        return f"{self.prompt}@{sha256_text(self.template)[:10]}"

    def cache_key(self, chunk: Chunk) -> str:
        """64 hexadecimal digits. The product's name stands in the prompt, so it counts; the chunk's id does not."""
        wanted = f"{','.join(self.types)} x{self.pairs_per_type}"
        return sha256_text(chunk.text, product(chunk), self.prompt_version, self.teacher, self.model, wanted)


def product(chunk: Chunk) -> str:
    """Company and product, with which a question can stand alone: `한빛생명 한빛 든든 암보험`."""
    name = chunk.metadata.breadcrumbs.split(">")[0].strip()
    company = chunk.metadata.company.strip()
    return name if name.startswith(company) else f"{company} {name}".strip()
