"""The prompt specification for a run, and the cache keys that identify its answers.

A cache key depends on the content of a request, never on the position of a chunk or on the other chunks in the same
request. Resuming, retrying, backfilling and refreshing are therefore one operation: request the answers whose cache
keys are missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from insurance_rag.chunks.headings import product_name, section_path
from insurance_rag.config import GenerationConfig
from insurance_rag.config.generation import QuestionStyle
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, QuestionType
from insurance_rag.core.records.generation import TeacherInfo
from insurance_rag.core.registry import registry

PROMPTS = Path(__file__).parents[1] / "generation" / "prompts"
REPAIR_PROMPT = "repair_v2"
"""Name of the file whose text a repair request contains between head and sections."""
PARAPHRASE_PROMPT = "paraphrase_v2"
"""Name of the file whose text a request for paraphrases contains between head and sections."""
SECTION_SEPARATOR = "--- 조항 ---"
"""Line of a prompt file between the head, which a request has once, and the section, which it has once per chunk."""
_INSERTED = (REPAIR_PROMPT, PARAPHRASE_PROMPT)


@dataclass(frozen=True)
class PromptSpec:
    """Everything in a request, apart from the chunk, that determines which pairs the teacher generates."""

    teacher: str
    model: str
    prompt: str
    """Name of a file in generation/prompts, without the .txt suffix."""
    types: tuple[QuestionType, ...]
    pairs_per_type: int
    questions: QuestionStyle = field(default_factory=QuestionStyle)

    @classmethod
    def from_config(cls, config: GenerationConfig) -> PromptSpec:
        """Return the specification for `config`. If `config` names no prompt, use the teacher's default prompt."""
        teacher: TeacherInfo = registry("teacher")[config.teacher]
        prompt = config.prompt or teacher.default_prompt
        return cls(config.teacher, config.model, prompt, tuple(config.types), config.pairs_per_type, config.questions)

    @cached_property
    def template(self) -> str:
        """Text of the prompt file. If it is missing, raises an InvalidInputError that lists the available prompts."""
        names = sorted(path.stem for path in PROMPTS.glob("*.txt") if path.stem not in _INSERTED)
        if self.prompt not in names:  # also a name such as ../x, which must not lead to a file elsewhere
            available = ", ".join(names)
            raise InvalidInputError(
                f"unknown prompt {self.prompt!r}: no such file in {PROMPTS}; available: {available}"
            )
        return (PROMPTS / f"{self.prompt}.txt").read_text(encoding="utf-8")

    @property
    def lists_items(self) -> bool:
        """Whether the prompt lists each requested pair with its style."""
        return "{items}" in self.template

    @cached_property
    def head_and_section(self) -> tuple[str, str]:
        """The two parts of the prompt file. Raises InvalidInputError if the file has no line SECTION_SEPARATOR."""
        head, separator, section = self.template.partition(f"\n{SECTION_SEPARATOR}\n")
        if not separator:
            raise InvalidInputError(
                f"prompt {self.prompt!r}: the file has no line {SECTION_SEPARATOR!r}; add it between the head and the "
                f"section for one chunk, or choose another prompt for the {self.teacher} teacher"
            )
        return head.strip(), section.strip()

    @cached_property
    def prompt_version(self) -> str:
        """Name of the prompt and hash of all files that it uses, so that editing one of them creates a new version."""
        inserted = [read_prompt(name) for name in _INSERTED] if self.lists_items else []
        return f"{self.prompt}@{sha256_text(self.template, *inserted)[:10]}"

    def cache_key(self, chunk: Chunk, other: Chunk | None = None) -> str:
        """Return the cache key for the chunk's answer: 64 hexadecimal digits.

        The key depends on everything about the chunk that is part of the prompt: text, product and section. It does not
        depend on the chunk id. `other` is a second chunk that a question needs.
        """
        requested = f"{','.join(self.types)} x{self.pairs_per_type}"
        parts = [chunk.text, product_name(chunk), self.prompt, self.template, self.teacher, self.model, requested]
        if self.lists_items:
            style = self.questions.model_dump_json(exclude={"two_chunk_neighbors"})  # decides only about `other`
            parts += [section_path(chunk), style, other.text if other else ""]
        return sha256_text(*parts)


def read_prompt(name: str) -> str:
    """Return the text of the prompt file `name` without surrounding whitespace."""
    return (PROMPTS / f"{name}.txt").read_text(encoding="utf-8").strip()


def repair_version() -> str:
    """Return the repair prompt's name and hash, in the same format as `PromptSpec.prompt_version`."""
    return f"{REPAIR_PROMPT}@{sha256_text(read_prompt(REPAIR_PROMPT))[:10]}"
