"""Unicode hygiene: NFC, control characters, what cannot be written as UTF-8."""

from __future__ import annotations

import re
import unicodedata

# C0/C1 controls but tab and newline; soft hyphen, zero-width, bidi marks, BOM, replacement character.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufffd]"
)
_NEWLINES = re.compile(r"\r\n?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_DIGITS = str.maketrans("０１２３４５６７８９％，．", "0123456789%,.")


def clean(text: str) -> str:
    """NFC, `\\n` for line ends, no control or invisible characters. Clean text comes back unchanged (and fast)."""
    if text.isascii() and text.isprintable():
        return text
    text = unicodedata.normalize("NFC", text)
    if "\r" in text:
        text = _NEWLINES.sub("\n", text)
    return _CONTROL.sub("", text)


def is_encodable(text: str) -> bool:
    """False for lone surrogates, which JSON can carry (`"\\ud800"`) and UTF-8 cannot."""
    return _SURROGATE.search(text) is None


def encodable(text: str) -> str:
    """With a question mark for each lone surrogate, so that it can be written."""
    return text if is_encodable(text) else _SURROGATE.sub("?", text)


def fold_width(text: str) -> str:
    """Full-width digits, % and separators as ASCII; every span keeps its place."""
    return text if text.isascii() else text.translate(_DIGITS)


def squeeze(text: str) -> str:
    """Without any white space: for comparing quotes whose line breaks moved."""
    return "".join(text.split())
