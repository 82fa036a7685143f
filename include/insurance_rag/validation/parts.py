"""Finds part files and reads their rows in blocks.

A part is a JSON array or a JSON Lines file. Generation writes arrays with one row per line, but any layout can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.validation.row import json_type_name

BLOCK_ROWS = 2000


@dataclass(frozen=True)
class Block:
    """Consecutive rows from one part."""

    part: int
    """Index of the part file."""
    rows: Sequence[object]
    """Encoded rows (bytes) if the part has one row per line, otherwise decoded JSON values."""


def find_parts(places: Sequence[Path]) -> list[Path]:
    """Return the part files in `places`, which may be files and folders.

    The part files in a folder are the files named `dataset_part_*.json`. If there are none, all JSON files in the
    folder are part files. Raises InvalidInputError if any place has no part file; the error lists all such places.
    """
    parts: list[Path] = []
    problems = []
    for place in places:
        if place.is_dir():
            named = sorted(place.glob("dataset_part_*.json")) or sorted(place.glob("*.json*"))
            found = [p for p in named if not _is_manifest(p)]
        else:
            found = [place] if place.is_file() else []
        if not found:
            problems.append(
                f"{place}: no part file (dataset_part_N.json); give part files or the folder that `generate` wrote"
            )
        parts += found
    if problems:
        raise InvalidInputError(problems)
    return list(dict.fromkeys(p for p in parts if not _is_manifest(p)))


def _is_manifest(path: Path) -> bool:
    return path.name.endswith(".manifest.json")


def part_labels(parts: Sequence[Path]) -> list[str]:
    """Return a unique label for each part.

    The label comes from the part's manifest ("shard 3/7 · gemini_k4"), or from the file name if there is none.
    """
    labels: list[str] = []
    for path in parts:
        manifest = manifest_path(path)
        facts = read_json(manifest) if manifest.is_file() else {}
        label = str(facts.get("label") or path.stem) if isinstance(facts, dict) else path.stem
        labels.append(f"{label} ({path})" if label in labels else label)
    return labels


def read_blocks(parts: Sequence[Path]) -> Iterator[Block]:
    """Yield the rows from all parts in blocks. Raises InvalidInputError for a file that is not an array of rows."""
    for number, path in enumerate(parts):
        for rows in _blocks_of(path):
            yield Block(number, rows)


def _blocks_of(path: Path) -> Iterator[Sequence[object]]:
    with path.open("rb") as f:
        start = f.read(1 << 16).lstrip(b"\xef\xbb\xbf \t\r\n")
    first_line, _, rest = start.partition(b"\n")
    second_line = rest.lstrip().partition(b"\n")[0].strip()
    row_per_line = first_line.strip() == b"[" and second_line.startswith(b"{") and second_line.endswith((b"}", b"},"))
    if not start.startswith(b"[") and path.suffix == ".jsonl":
        yield from _row_lines(path, in_array=False)
    elif row_per_line:
        yield from _row_lines(path, in_array=True)
    else:
        value = read_json(path)
        if not isinstance(value, list):
            raise InvalidInputError(f"{path}: contains {json_type_name(value)}; write a JSON array of rows")
        for i in range(0, len(value), BLOCK_ROWS):
            yield value[i : i + BLOCK_ROWS]


def _row_lines(path: Path, *, in_array: bool) -> Iterator[list[bytes]]:
    block: list[bytes] = []
    last = b""
    with path.open("rb") as f:
        for line in f:
            text = line.strip()
            if not text or (in_array and text in (b"[", b"\xef\xbb\xbf[")):
                continue
            last = text
            if in_array and text == b"]":
                continue
            if in_array:
                # The closing ] may be on the same line as the last row.
                text = text[:-1] if text.endswith(b"}]") else text.rstrip(b",")
            block.append(text)
            if len(block) == BLOCK_ROWS:
                yield block
                block = []
    if in_array and not last.endswith(b"]"):
        raise InvalidInputError(f"{path}: the file ends before the closing ]; generate this shard again (it resumes)")
    if block:
        yield block
