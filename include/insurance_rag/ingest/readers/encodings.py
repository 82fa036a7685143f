"""Decodes text files: UTF-8, UTF-16 and CP949 (EUC-KR)."""

from __future__ import annotations

import codecs

from insurance_rag.core.errors import InvalidInputError

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
#: Names that pages declare -> the encoding that is meant. CP949 contains EUC-KR and more syllables.
_DECLARED = {
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "ksc5601": "cp949",
    "ks_c_5601": "cp949",
    "x-windows-949": "cp949",
}
#: Characters that hardly occur in Korean documents: most other scripts, rare ideographs and private characters.
_ODD_RANGES = (
    ("\x7f", "\x9f"), ("\u0100", "\u036f"), ("\u0400", "\u10ff"), ("\u1200", "\u1fff"), ("\u2800", "\u2e7f"),
    ("\u3400", "\u4dff"), ("\ua000", "\uabff"), ("\ud7a4", "\uf8ff"), ("\ufb00", "\ufdff"), ("\ufff0", "\uffff"),
)  # fmt: skip
SAMPLE = 100_000
"""Number of characters that are looked at."""
MAX_ODD_SHARE = 0.05
"""A file with more control characters, or letters of scripts that Korean documents do not use, is not text."""


def decode_text(data: bytes, name: str, declared: str | None = None) -> str:
    """Return the text of a file. `declared` is the encoding that the file itself names.

    Raises InvalidInputError if the encoding is none of the known ones, or if the file is not text.
    """
    for encoding in _candidates(data, declared):
        try:
            text = data.decode(encoding)
        except (UnicodeError, LookupError):
            continue
        sample = text[:SAMPLE]
        if sum(map(_is_odd, sample)) <= MAX_ODD_SHARE * len(sample):
            return text.replace("\0", "")
    raise InvalidInputError(
        f"{name}: the file is not text in UTF-8, UTF-16 or CP949 (EUC-KR); save it as UTF-8, or check its format"
    )


def _candidates(data: bytes, declared: str | None) -> list[str]:
    marked = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    if marked:
        return [marked]
    if b"\0" in data[:4096]:  # UTF-16 without a mark; a space has a zero byte before or after it
        zeros = [data[:4096:2].count(0), data[1:4096:2].count(0)]
        return ["utf-16-be", "utf-16-le"] if zeros[0] > zeros[1] else ["utf-16-le", "utf-16-be"]
    own = _DECLARED.get(declared.lower(), declared.lower()) if declared else None
    return [*([own] if own and own != "utf-8" else []), "utf-8", "cp949"]


def _is_odd(char: str) -> bool:
    """Return whether a character hardly occurs in Korean documents, so that the encoding is probably another one."""
    if char < "\x7f":
        return char < " " and char not in "\t\n\r\f\v"
    return any(first <= char <= last for first, last in _ODD_RANGES)
