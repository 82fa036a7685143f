"""Clean JSON values for display: make invisible characters visible, and replace impossible numbers with None."""

from __future__ import annotations

import re

from pydantic import JsonValue

#: Control characters (C0 and C1), direction marks and overrides, the byte order mark, and lone surrogates.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")

LARGEST_NUMBER = 1e15
"""Largest valid number. Larger numbers, NaN and infinity are replaced by None, because charts cannot draw them."""


def visible_text(text: str) -> str:
    """Return `text` with every invisible character replaced by a symbol (␀), a code ([U+202E]) or �."""
    return _INVISIBLE.sub(_picture, text.replace("\r\n", "\n"))


def clean(value: JsonValue) -> JsonValue:
    """Return `value` with invisible characters in its strings made visible and impossible numbers replaced by None."""
    if isinstance(value, str):
        return visible_text(value)
    if isinstance(value, list):
        return [clean(item) for item in value]
    if isinstance(value, dict):
        return clean_object(value)
    if isinstance(value, int | float) and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        return None
    return value


def clean_object(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a JSON object with its keys and values cleaned; see `clean`."""
    return {visible_text(key): clean(item) for key, item in value.items()}


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if code < 0xA0 or 0xD800 <= code <= 0xDFFF:
        return "\N{REPLACEMENT CHARACTER}"
    return f"[U+{code:04X}]"
