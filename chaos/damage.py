"""Damage files as a failing disk or a power failure does, and find out which records are lost thereby."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

from insurance_rag.core.journal_lines import is_intact, strip_checksum

MAX_CUT_LINES = 2
"""A truncated file lacks up to this many lines, the last one possibly in part."""


def flip_bit(path: Path, rng: Random) -> str:
    """Flip one random bit of the file, and return what was done."""
    with path.open("r+b") as f:
        data = f.read()
        position, bit = rng.randrange(len(data)), rng.randrange(8)
        f.seek(position)
        f.write(bytes([data[position] ^ (1 << bit)]))
    return f"{path.name}: flipped bit {bit} of byte {position} of {len(data)}"


def truncate(path: Path, rng: Random) -> str:
    """Cut off the end of the file, and return what was done."""
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)[-MAX_CUT_LINES:]
    cut = rng.randint(1, sum(map(len, lines)))
    with path.open("r+b") as f:
        f.truncate(len(data) - cut)
    return f"{path.name}: cut off {cut} of {len(data)} bytes"


def write_nul(path: Path, rng: Random) -> str:
    """Append NUL bytes, or overwrite the end of the file with them, and return what was done."""
    size = path.stat().st_size
    if rng.random() < 0.5:
        count, start = rng.randint(1, 4096), size
    else:
        count = rng.randint(1, min(size, 600))
        start = size - count
    with path.open("r+b") as f:
        f.seek(start)
        f.write(bytes(count))
    return f"{path.name}: {count} NUL bytes from byte {start} of {size}"


def lost_chunks(before: bytes, after: bytes) -> set[str]:
    """Return the ids of the chunks in records that are intact in `before` but not in `after`."""
    lost = _intact_lines(before) - _intact_lines(after)
    records = [json.loads(strip_checksum(line)) for line in lost]
    return {record["chunk_id"] for record in records if "chunk_id" in record}


def _intact_lines(data: bytes) -> Counter[bytes]:
    return Counter(line for line in data.split(b"\n") if is_intact(line + b"\n") for line in [line + b"\n"])
