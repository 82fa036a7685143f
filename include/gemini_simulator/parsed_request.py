"""Parses a request: finds the chunks, the requested pairs and the kind of the request in the prompt and the schema."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

from gemini_simulator.answer_schema import listed_types, wants_sentence_numbers
from gemini_simulator.chunk_sections import ChunkSection, WantedPair, parse_sections
from gemini_simulator.json_types import JsonObject
from gemini_simulator.seeded_random import hash_uniform
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import GENERATED_TYPES

_CORRECTION = re.compile(r"^###\s*다시 작성", re.MULTILINE)
_PARAPHRASE = re.compile(r"^###\s*바꿔 쓰기", re.MULTILINE)
_PAIRS_PER_TYPE = re.compile(
    r"(?:유형|종류)(?:별로?|마다)\s*(?:질문과 답변을?|문답을?)?\s*(?:각각\s*)?(\d)\s*(?:개|쌍)"
)


@dataclass(frozen=True)
class GenerationOptions:
    """Settings of a request that affect the answer. None means that the request does not contain the setting."""

    temperature: float | None = None
    max_output_tokens: int | None = None
    thinking_level: str | None = None
    """minimal, low, medium or high."""


@dataclass(frozen=True)
class ParsedRequest:
    """A prompt (system and user text) and the JSON schema for the answer.

    If `schema` is None, the answer is plain text.
    """

    prompt: str
    schema: JsonObject | None = None
    options: GenerationOptions = GenerationOptions()

    @cached_property
    def sections(self) -> tuple[ChunkSection, ...]:
        """The chunks that the request asks about, each with the requested pairs."""
        sections = parse_sections(self.prompt)
        return tuple(s if s.wanted else replace(s, wanted=self._default_pairs(s)) for s in sections)

    @cached_property
    def sha256(self) -> str:
        """Hash of the prompt and the schema. A repeated request has the same hash."""
        return sha256_text(self.prompt, repr(self.schema))

    @cached_property
    def is_correction(self) -> bool:
        """Whether the prompt names the faults in earlier pairs and asks for corrected pairs."""
        return _CORRECTION.search(self.prompt) is not None

    @cached_property
    def is_paraphrase(self) -> bool:
        """Whether the prompt asks for answers in other words than the chunk's."""
        return _PARAPHRASE.search(self.prompt) is not None

    @cached_property
    def wants_sentence_numbers(self) -> bool:
        """Whether the schema requires the evidence as sentence numbers instead of a quote."""
        return wants_sentence_numbers(self.schema)

    def _default_pairs(self, section: ChunkSection) -> tuple[WantedPair, ...]:
        """Return the pairs to write for a section that does not list any.

        These are the types in the schema, or GENERATED_TYPES if the schema lists none. If there is no schema, it is one
        type, which is chosen by a hash of the chunk's text.
        """
        if self.schema is None:
            types: tuple[str, ...] = (GENERATED_TYPES[int(hash_uniform("type", section.text) * len(GENERATED_TYPES))],)
        else:
            types = listed_types(self.schema) or GENERATED_TYPES
        found = _PAIRS_PER_TYPE.search(self.prompt)
        pairs_per_type = max(1, int(found[1])) if found else 1
        names = [(name, earlier) for name in types for earlier in range(pairs_per_type)]
        return tuple(WantedPair(name, slot, earlier) for slot, (name, earlier) in enumerate(names))
