"""The lines of a journal: JSON objects whose last field is a checksum of the bytes before that field.

    {"key": "ab12", "state": "answered", "crc32": "0f3c9a77"}

Lines of older versions have no checksum. They are read if they contain a JSON object. A damaged line never passes for
such a line: its checksum field would have to be gone without a trace, and the rest would still have to be valid JSON.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

_CHECKSUM = b', "crc32": "%08x"}\n'
_CHECKSUM_BYTES = len(_CHECKSUM % 0)
_BEFORE_VALUE, _AFTER_VALUE = _CHECKSUM.split(b"%08x")
_MIN_CHECKSUM_MATCHES = len(_BEFORE_VALUE + _AFTER_VALUE) - 5
_to_json = json.JSONEncoder(ensure_ascii=False).encode


def encode_record(record: Mapping[str, object]) -> bytes:
    """Return `record` as one line with its checksum. `record` must not be empty."""
    body = _to_json(record).encode("utf-8", "replace")[:-1]
    return body + _CHECKSUM % zlib.crc32(body)


def is_intact(line: bytes) -> bool:
    """Return whether `line`, which includes the newline, ends with the correct checksum."""
    body = line[:-_CHECKSUM_BYTES]
    return line[-_CHECKSUM_BYTES:] == _CHECKSUM % zlib.crc32(body)


def is_readable(line: bytes) -> bool:
    """Return whether `line` is intact, or holds a JSON object that an older version wrote without a checksum."""
    if is_intact(line):
        return True
    tail = line[-_CHECKSUM_BYTES:]
    frame = tail[: len(_BEFORE_VALUE)] + tail[-len(_AFTER_VALUE) :]
    matches = sum(found == byte for found, byte in zip(frame, _BEFORE_VALUE + _AFTER_VALUE, strict=False))
    if matches >= _MIN_CHECKSUM_MATCHES:  # the line has a checksum, and the line or its checksum is damaged
        return False
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and bool(record)


def strip_checksum(line: bytes) -> bytes:
    """Return the JSON object in a readable line, without its checksum field."""
    start = len(line) - _CHECKSUM_BYTES
    return line[:start] + b"}" if line.startswith(_BEFORE_VALUE, max(0, start)) else line


def decode_record(line: bytes) -> dict[str, Any]:
    """Return the record in a readable line, without its checksum field."""
    record: dict[str, Any] = json.loads(strip_checksum(line))
    return record
