"""What a prompt wishes for: the clause in it, the product it names, the question types, and the shape of the answer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gemini_simulator.seeded_random import uniform
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import GENERATED_TYPES

_CLAUSE = re.compile(r"^###\s*보험 약관 내용[^\n]*\n(.*?)(?=^###|^질문:|\Z)", re.MULTILINE | re.DOTALL)
_CORRECTION = re.compile(r"^###\s*다시 작성", re.MULTILINE)
_PAIRS = re.compile(r"(?:유형|종류)(?:별로?|마다)\s*(?:질문과 답변을?|문답을?)?\s*(?:각각\s*)?(\d)\s*(?:개|쌍)")

#: Names a schema may give to the parts of a pair.
_ALIASES = {"instruction": "question", "output": "answer", "quote": "evidence"}


@dataclass(frozen=True)
class Wish:
    """A prompt (system and user text) and the JSON schema of its answer; without one the answer is plain text."""

    prompt: str
    schema: dict[str, Any] | None = None

    @cached_property
    def clause(self) -> str:
        """The text after the line `### 보험 약관 내용`, or the whole prompt where that line is missing."""
        found = _CLAUSE.findall(self.prompt)
        return (found[-1] if found else self.prompt).strip()

    @cached_property
    def clause_sha256(self) -> str:
        return hashlib.sha256(self.clause.encode()).hexdigest()

    @cached_property
    def sha256(self) -> str:
        """Of all that is asked: the same request again has the same."""
        return sha256_text(self.prompt, repr(self.schema))

    @cached_property
    def product(self) -> str:
        return self._named("상품|상품명|보험상품")

    @cached_property
    def company(self) -> str:
        return self._named("회사|회사명|보험사|보험회사")

    @cached_property
    def types(self) -> tuple[str, ...]:
        """Those the schema lists, else the three; a plain text holds a single pair of one of them."""
        if self.schema is None:
            return (GENERATED_TYPES[int(uniform("type", self.clause) * len(GENERATED_TYPES))],)
        enums = (part["enum"] for part in _properties(self.schema, "type") if part.get("enum"))
        return tuple(next(enums, GENERATED_TYPES))

    @cached_property
    def is_correction(self) -> bool:
        """It asks once more for pairs whose faults it names."""
        return _CORRECTION.search(self.prompt) is not None

    @cached_property
    def pairs(self) -> int:
        """Pairs wanted of each type."""
        found = _PAIRS.search(self.prompt)
        return max(1, int(found[1])) if found else 1

    def shape(self, items: list[dict[str, Any]]) -> Any:
        """The items in the form the schema asks for: an array, an object that holds one, or a single item."""
        schema = self.schema or {}
        if _kind(schema) != "object":
            return [_fields(schema.get("items", {}), item) for item in items]
        for name, part in schema.get("properties", {}).items():
            if _kind(part) == "array":
                return {name: [_fields(part.get("items", {}), item) for item in items]}
        return _fields(schema, items[0])

    def _named(self, labels: str) -> str:
        found = re.search(rf"^[\s*\-]*(?:{labels})\s*[:：]\s*(.+?)\s*$", self.prompt, re.MULTILINE)
        return found[1] if found else ""


def _kind(schema: dict[str, Any]) -> str:
    """Gemini writes ARRAY, JSON schema array."""
    return str(schema.get("type", "array")).lower()


def _properties(schema: Any, name: str) -> Iterator[dict[str, Any]]:
    """Every schema of a property called `name`, at any depth."""
    if isinstance(schema, list):
        for part in schema:
            yield from _properties(part, name)
    elif isinstance(schema, dict):
        found = schema.get("properties", {})
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            yield found[name]
        for part in schema.values():
            yield from _properties(part, name)


def _fields(schema: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    names = schema.get("properties")
    if not names:
        return item
    return {name: item[key] for name in names if (key := _ALIASES.get(name, name)) in item}
