"""JSON types, and functions that check the type of a JSON value from a client."""

from __future__ import annotations

from typing import TypeAlias

from pydantic import JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]


def as_object(value: JsonValue) -> JsonObject:
    """Return `value` if it is a JSON object, else an empty object."""
    return value if isinstance(value, dict) else {}


def as_list(value: JsonValue) -> list[JsonValue]:
    """Return `value` if it is a JSON array, else an empty array."""
    return value if isinstance(value, list) else []


def as_text(value: JsonValue) -> str:
    """Return `value` if it is a string, else an empty string."""
    return value if isinstance(value, str) else ""


def as_number(value: JsonValue) -> float | None:
    """Return `value` if it is a number, else None."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
