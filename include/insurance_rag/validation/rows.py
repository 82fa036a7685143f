"""Read generated rows out of part files, in blocks, whatever they hold; nothing a row can contain stops the reading.

A part is a JSON array (one row a line as the generation writes it, or any other layout) or JSON lines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.korean import clean, is_encodable

BLOCK_ROWS = 2000
FIELDS = ("chunk_id", "type", "instruction", "input", "output", "evidence")


@dataclass
class Row:
    """One generated pair, its text in NFC and without control characters. `problem` says what made it unreadable."""

    chunk_id: str = ""
    type: str = ""
    instruction: str = ""
    input: str = ""
    output: str = ""
    evidence: str = ""
    answerable: bool = True
    meta: dict[str, Any] | None = None
    problem: str | None = None
    mended: tuple[str, ...] = ()

    @property
    def fields(self) -> dict[str, Any]:
        """The row as it goes to files."""
        texts = {name: getattr(self, name) for name in FIELDS}
        return {**texts, "answerable": self.answerable, "meta": self.meta or {}}


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one part, still as bytes where the part has one row a line."""

    part: int
    first: int
    rows: Sequence[bytes | Any]


def find_parts(places: Sequence[Path]) -> list[Path]:
    """Part files among files and folders: `dataset_part_*.json` of a folder, else all its JSON but manifests."""
    parts: list[Path] = []
    problems = []
    for place in places:
        if place.is_dir():
            named = sorted(place.glob("dataset_part_*.json")) or sorted(place.glob("*.json*"))
            found = [p for p in named if not p.name.endswith(".manifest.json")]
        else:
            found = [place] if place.is_file() else []
        if not found:
            problems.append(f"{place}: no part file (dataset_part_N.json); give the folder `generate` wrote, or files")
        parts += found
    if problems:
        raise InvalidInputError(problems)
    return list(dict.fromkeys(p for p in parts if not p.name.endswith(".manifest.json")))


def part_labels(parts: Sequence[Path]) -> list[str]:
    """Each shard's label by its part's manifest ("shard 3/7 · gemini_k4"), else the file's name; all different."""
    labels = []
    for path in parts:
        manifest = manifest_path(path)
        known = read_json(manifest) if manifest.is_file() else {}
        label = str(known.get("label") or path.stem) if isinstance(known, dict) else path.stem
        labels.append(f"{label} ({path})" if label in labels else label)
    return labels


def read_blocks(parts: Sequence[Path]) -> Iterator[Block]:
    """Every row of every part. InvalidInputError where a file is no array of rows, or breaks off."""
    for number, path in enumerate(parts):
        first = 1
        for rows in _blocks_of(path):
            yield Block(number, first, rows)
            first += len(rows)


def _blocks_of(path: Path) -> Iterator[Sequence[bytes | Any]]:
    with path.open("rb") as f:
        start = f.read(1 << 16).lstrip(b"\xef\xbb\xbf \t\r\n")
    opening, _, rest = start.partition(b"\n")
    line_of_rows = rest.lstrip().partition(b"\n")[0].strip()
    one_row_a_line = opening.strip() == b"[" and line_of_rows.startswith(b"{") and line_of_rows.endswith((b"}", b"},"))
    if not start.startswith(b"[") and path.suffix == ".jsonl":
        yield from _lines(path, in_array=False)
    elif one_row_a_line:
        yield from _lines(path, in_array=True)
    else:
        value = read_json(path)
        if not isinstance(value, list):
            raise InvalidInputError(f"{path}: holds {_kind(value)}; a part is a JSON array of rows")
        for i in range(0, len(value), BLOCK_ROWS):
            yield value[i : i + BLOCK_ROWS]


def _lines(path: Path, *, in_array: bool) -> Iterator[list[bytes]]:
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
                text = text[:-1] if text.endswith(b"}]") else text.rstrip(b",")  # the array may end on a row's line
            block.append(text)
            if len(block) == BLOCK_ROWS:
                yield block
                block = []
    if in_array and not last.endswith(b"]"):
        raise InvalidInputError(f"{path}: breaks off before its closing ]; generate this shard again (it resumes)")
    if block:
        yield block


def parse_row(raw: bytes | Any, max_characters: int) -> Row:
    """A row of any quality; what is wrong with its shape stands in `problem`."""
    if isinstance(raw, bytes):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError) as e:  # of JSON and of UTF-8; nested beyond what can be read
            return Row(problem=f"cannot be read: {e}")
    if not isinstance(raw, dict):
        return Row(problem=f"is {_kind(raw)}, not an object")
    problem = next((p for name in FIELDS if (p := _fault(name, raw.get(name), max_characters))), None)
    if problem:
        row = Row(problem=problem)
        for name in FIELDS:
            setattr(row, name, _safe(raw.get(name)))
        return row
    return _cleaned(raw)


def _cleaned(raw: dict[str, Any]) -> Row:
    given = {name: raw.get(name) or "" for name in FIELDS}
    texts = {name: clean(text) if name != "chunk_id" else text for name, text in given.items()}
    kind = texts["type"].strip().lower()  # the source prints type names capitalised
    answerable = raw.get("answerable", kind != "unanswerable")
    meta = raw.get("meta")
    extra = {k: v for k, v in raw.items() if k not in (*FIELDS, "answerable", "meta")}
    problem = None
    if not isinstance(answerable, bool):
        problem = f"answerable is {_kind(answerable)}, not true or false"
    elif not is_encodable(json.dumps([meta, extra], ensure_ascii=False)):
        problem, meta, extra = "meta is no valid Unicode", {}, {}
    return Row(
        chunk_id=texts["chunk_id"],
        type=kind,
        instruction=texts["instruction"].strip(),
        input=texts["input"],
        output=texts["output"].strip(),
        evidence=texts["evidence"],
        answerable=answerable is True and kind != "unanswerable",
        meta={**(meta if isinstance(meta, dict) else {}), **extra},
        problem=problem,
        mended=tuple(name for name in ("instruction", "output", "evidence") if texts[name] != given[name]),
    )


def _fault(name: str, value: Any, max_characters: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        return f"{name} is {_kind(value)}, not text"
    if len(value) > max_characters:
        return f"{name} has {len(value):,} characters, {max_characters:,} are allowed"
    return None if is_encodable(value) else f"{name} is no valid Unicode (a lone surrogate)"


def _safe(value: Any) -> str:
    """Enough of any value to recognise the row in rejects.jsonl."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return text[:500].encode("utf-8", "replace").decode()


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
