"""Reads the lines of a file one after the other, whatever its encoding and however long its lines are."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from insurance_rag.core.errors import InvalidInputError

MAX_CHARACTERS = 1_000_000
"""Longer lines are not read. A record of one question and its answers needs far less."""
TOO_LONG = f"longer than {MAX_CHARACTERS:,} characters; split or remove the record"
NOT_TEXT = "is not text in the encoding of the file; save the file as UTF-8"
_BLOCK = 1 << 20
_UNDECODED = re.compile("[\udc80-\udcff]")
"""What `surrogateescape` makes of bytes that cannot be decoded."""


def encoding_of(path: Path) -> str:
    """Return the encoding of a file: UTF-16 with a byte order mark, UTF-8 or CP949.

    A file is CP949 if its lines can be read as CP949 and most of those with Korean text cannot be read as UTF-8. In a
    file that is mostly UTF-8, a line in another encoding is a problem of this line.
    """
    utf8 = cp949 = other = 0
    for number, line in enumerate(_byte_lines(path)):
        if number == 0 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        if line.isascii():
            continue
        if _is_in(line, "utf-8"):
            utf8 += 1
        elif _is_in(line, "cp949"):
            cp949 += 1
        else:
            other += 1
    return "cp949" if cp949 > utf8 + other else "utf-8-sig"


def _is_in(line: bytes, encoding: str) -> bool:
    """Return whether a line can be decoded. A line that was cut may end within a character."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(line, final=len(line) < _BLOCK)
    except UnicodeDecodeError:
        return False
    return True


def _byte_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as f:
            while line := f.readline(_BLOCK):
                yield line
                while line and not line.endswith(b"\n"):  # the rest of a long line
                    line = f.readline(_BLOCK)
    except OSError as e:
        raise InvalidInputError(f"{path}: cannot be read ({e.strerror}); check the path and its permissions") from e


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield every line with its line ending, and what is wrong with it. A line that is wrong is empty."""
    encoding = encoding_of(path)
    errors = "strict" if encoding == "utf-16" else "surrogateescape"
    try:
        with path.open(encoding=encoding, newline="", errors=errors) as f:
            while line := f.readline(MAX_CHARACTERS):
                problem = ""
                while len(line) >= MAX_CHARACTERS and not line.endswith(("\n", "\r")):
                    problem, rest = TOO_LONG, f.readline(MAX_CHARACTERS)
                    if not rest or rest.endswith(("\n", "\r")):
                        break
                if not problem and _UNDECODED.search(line):
                    problem = NOT_TEXT
                yield ("\n", problem) if problem else (line, "")
    except UnicodeError:
        raise InvalidInputError(f"{path}: is not text in UTF-8, UTF-16 or CP949; save it as UTF-8") from None
