"""Read JSON values of uncertain type. Servers may omit a field, send null, or send a value of another type."""

from __future__ import annotations

import math

from pydantic import JsonValue


def as_dict(value: JsonValue) -> dict[str, JsonValue]:
    """Return `value` if it is a JSON object, else an empty dict."""
    return value if isinstance(value, dict) else {}


def as_list(value: JsonValue) -> list[JsonValue]:
    """Return `value` if it is a JSON array, else an empty list."""
    return value if isinstance(value, list) else []


def as_int(value: JsonValue) -> int:
    """Return `value` as an integer if it is a finite number, else 0."""
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0


def as_text(value: JsonValue) -> str:
    """Return `value` if it is a string, else an empty string."""
    return value if isinstance(value, str) else ""
