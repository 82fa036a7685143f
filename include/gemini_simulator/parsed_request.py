"""Parses a request: finds the chunk, the product and the question types in the prompt and the schema."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from gemini_simulator.json_types import JsonObject, as_object
from gemini_simulator.seeded_random import hash_uniform
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import GENERATED_TYPES

_CHUNK = re.compile(r"^###\s*보험 약관 내용[^\n]*\n(.*?)(?=^###|^질문:|\Z)", re.MULTILINE | re.DOTALL)
_CORRECTION = re.compile(r"^###\s*다시 작성", re.MULTILINE)
_PAIRS_PER_TYPE = re.compile(
    r"(?:유형|종류)(?:별로?|마다)\s*(?:질문과 답변을?|문답을?)?\s*(?:각각\s*)?(\d)\s*(?:개|쌍)"
)

#: Alternative name of a field in a schema -> name of the field in a pair.
_FIELD_ALIASES = {"instruction": "question", "output": "answer", "quote": "evidence"}


@dataclass(frozen=True)
class ParsedRequest:
    """A prompt (system and user text) and the JSON schema for the answer.

    If `schema` is None, the answer is plain text.
    """

    prompt: str
    schema: JsonObject | None = None

    @cached_property
    def chunk_text(self) -> str:
        """The text below the line `### 보험 약관 내용`, or the whole prompt if there is no such line."""
        found = _CHUNK.findall(self.prompt)
        return (found[-1] if found else self.prompt).strip()

    @cached_property
    def chunk_sha256(self) -> str:
        """Hash of the chunk's text. All requests about the same chunk have the same hash."""
        return hashlib.sha256(self.chunk_text.encode()).hexdigest()

    @cached_property
    def sha256(self) -> str:
        """Hash of the prompt and the schema. A repeated request has the same hash."""
        return sha256_text(self.prompt, repr(self.schema))

    @cached_property
    def product(self) -> str:
        """Product name in the prompt, or an empty string."""
        return self._labelled_value("상품|상품명|보험상품")

    @cached_property
    def company(self) -> str:
        """Company name in the prompt, or an empty string."""
        return self._labelled_value("회사|회사명|보험사|보험회사")

    @cached_property
    def question_types(self) -> tuple[str, ...]:
        """Question types that the schema lists, or GENERATED_TYPES if the schema lists none.

        If there is no schema, returns a single type, which is chosen by a hash of the chunk's text.
        """
        if self.schema is None:
            return (GENERATED_TYPES[int(hash_uniform("type", self.chunk_text) * len(GENERATED_TYPES))],)
        for type_schema in _find_properties(self.schema, "type"):
            enum = type_schema.get("enum")
            if isinstance(enum, list) and enum:
                return tuple(str(name) for name in enum)
        return GENERATED_TYPES

    @cached_property
    def is_correction(self) -> bool:
        """Whether the prompt names the faults in earlier pairs and asks for corrected pairs."""
        return _CORRECTION.search(self.prompt) is not None

    @cached_property
    def pairs_per_type(self) -> int:
        """Number of pairs to write for each question type."""
        found = _PAIRS_PER_TYPE.search(self.prompt)
        return max(1, int(found[1])) if found else 1

    def format_pairs(self, pairs: Sequence[JsonObject]) -> JsonValue:
        """Return the pairs in the form that the schema requires.

        This is an array of pairs, an object that contains such an array, or only the first pair.
        """
        schema = self.schema or {}
        if _json_type(schema) != "object":
            return [_select_fields(as_object(schema.get("items")), pair) for pair in pairs]
        for name, value in as_object(schema.get("properties")).items():
            part = as_object(value)
            if _json_type(part) == "array":
                return {name: [_select_fields(as_object(part.get("items")), pair) for pair in pairs]}
        return _select_fields(schema, pairs[0])

    def _labelled_value(self, labels: str) -> str:
        found = re.search(rf"^[\s*\-]*(?:{labels})\s*[:：]\s*(.+?)\s*$", self.prompt, re.MULTILINE)
        return found[1] if found else ""


def _json_type(schema: JsonObject) -> str:
    """Return the schema's type in lowercase. Gemini's schemas use uppercase types, e.g. ARRAY."""
    return str(schema.get("type", "array")).lower()


def _find_properties(schema: JsonValue, name: str) -> Iterator[JsonObject]:
    """Yield the schema of every property called `name`, at any depth."""
    if isinstance(schema, list):
        for part in schema:
            yield from _find_properties(part, name)
    elif isinstance(schema, dict):
        found = as_object(schema.get("properties")).get(name)
        if isinstance(found, dict):
            yield found
        for part in schema.values():
            yield from _find_properties(part, name)


def _select_fields(schema: JsonObject, pair: JsonObject) -> JsonObject:
    """Return the pair's fields that the schema lists, renamed to the schema's names.

    If the schema lists no fields, returns all fields of the pair.
    """
    names = as_object(schema.get("properties"))
    if not names:
        return pair
    return {name: pair[field] for name in names if (field := _FIELD_ALIASES.get(name, name)) in pair}
