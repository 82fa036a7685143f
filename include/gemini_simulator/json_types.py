"""Types of JSON documents, and the narrowing of values whose type the sender decides."""

from __future__ import annotations

from typing import TypeAlias

from pydantic import JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]


def as_object(value: JsonValue) -> JsonObject:
    """Return a JSON object as it is, and an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def as_list(value: JsonValue) -> list[JsonValue]:
    """Return a JSON array as it is, and an empty one for any other value."""
    return value if isinstance(value, list) else []


def as_text(value: JsonValue) -> str:
    """Return a JSON string as it is, and an empty one for any other value."""
    return value if isinstance(value, str) else ""
