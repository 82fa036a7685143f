"""Cleans up Unicode text: normal form, control characters, lone surrogates, full-width digits and whitespace."""

from __future__ import annotations

import re
import unicodedata

# Characters that are removed. Most are invisible, so that strings look equal but differ: control characters except tab
# and newline, soft hyphens, zero-width characters, direction marks and byte order marks. The last one is the
# replacement character (�).
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufffd]"
)
# Line endings on Windows and on old Macs.
_NEWLINES = re.compile(r"\r\n?")
# Surrogates, which are halves of UTF-16 pairs. UTF-8 cannot encode a lone surrogate.
_SURROGATE = re.compile("[\ud800-\udfff]")
# Korean documents mix full-width and ASCII digits. Every character maps to one character, so that spans remain valid.
_DIGITS = str.maketrans("０１２３４５６７８９％，．", "0123456789%,.")


def clean(text: str) -> str:
    """Return the text in NFC, with `\\n` line endings and without control or invisible characters.

    Cleaning a text twice gives the same result as cleaning it once.

    >>> clean("보험\\u200b금\\r\\n지급")
    '보험금\\n지급'
    """
    if text.isascii() and text.isprintable():
        return text
    text = unicodedata.normalize("NFC", text)
    if "\r" in text:
        text = _NEWLINES.sub("\n", text)
    return _CONTROL.sub("", text)


def is_encodable(text: str) -> bool:
    """Return whether the text can be encoded as UTF-8. Lone surrogates can occur in JSON but not in UTF-8.

    >>> is_encodable("보험"), is_encodable("보험\\ud800")
    (True, False)
    """
    return _SURROGATE.search(text) is None


def replace_surrogates(text: str) -> str:
    """Replace each lone surrogate with a question mark, so that the text can be encoded as UTF-8.

    >>> replace_surrogates("보험\\ud800")
    '보험?'
    """
    return text if is_encodable(text) else _SURROGATE.sub("?", text)


def fold_width(text: str) -> str:
    """Replace full-width digits, percent signs and separators with ASCII characters, without changing the length.

    >>> fold_width("３０％")
    '30%'
    """
    return text if text.isascii() else text.translate(_DIGITS)


def remove_whitespace(text: str) -> str:
    """Remove all whitespace, so that quotes with different line breaks can be compared.

    >>> remove_whitespace("보험금을\\n 지급")
    '보험금을지급'
    """
    return "".join(text.split())
