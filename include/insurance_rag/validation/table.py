"""The table of all generated rows, with small columns in memory and the rows themselves in a temporary file."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray

from insurance_rag.core.files import write_error
from insurance_rag.validation.row import Row

NOT_DROPPED = 999
"""Value of `dropped_by` for a row that no rule drops; higher than the position of any rule."""

D = TypeVar("D", bound=np.generic)


@dataclass
class CheckedBlock:
    """The rows in one block, after the row rules were applied. The n-th entry in each list belongs to the n-th row."""

    part: int
    """Index of the part file."""
    keys: list[str] = field(default_factory=list)
    """Canonical sort keys: chunk id, question type, content hash and hash of `meta`, separated by NUL."""
    rows: list[bytes] = field(default_factory=list)
    """Encoded rows. `input` is empty if the row passed and its chunk is known; `RowTable.row` restores it."""
    dropped_by: list[int] = field(default_factory=list)
    """For each row, the position of the first row rule that drops it, or NOT_DROPPED."""
    answerable: list[bool] = field(default_factory=list)
    question_hashes: list[int] = field(default_factory=list)
    """64-bit hashes of the questions."""
    spans: dict[int, str] = field(default_factory=dict)
    """Maps the index of each dropped row to the text at fault."""
    repair_reasons: dict[int, str] = field(default_factory=dict)
    """Maps the index of each repaired row to the fault that the repair was meant to fix."""
    cleaned: Counter[str] = field(default_factory=Counter)
    """Maps field names to the number of rows in which cleaning changed the field."""
    reviewed: Counter[str] = field(default_factory=Counter)
    """Number of rows per decision of a reviewer, named like the fields of `ReviewCounts`."""
    bands: NDArray[np.uint64] | None = None
    """MinHash bands, shape (rows, BANDS), with zeros for dropped rows; None if no rule needs them."""
    sketches: NDArray[np.uint8] | None = None
    """MinHash sketches, shape (rows, PERMUTATIONS), with zeros for dropped rows; None if no rule needs them."""


class RowTable:
    """All rows. Call `add` for every block and then `freeze`. Only then can columns and rows be read.

    Row numbers refer to the canonical order (by chunk, type and content). Results therefore do not depend on how the
    rows are divided into part files.
    """

    dropped_by: NDArray[np.int16]
    """For each row, the position of the rule that drops it, or NOT_DROPPED."""
    answerable: NDArray[np.bool_]
    question_hashes: NDArray[np.uint64]
    part: NDArray[np.int32]
    types: NDArray[np.object_]
    """Question types of the rows; an empty string for an unreadable row."""
    digests: NDArray[np.uint64]
    """64-bit hash of each row's content without `meta`. It seeds the random draws for the row."""
    spans: dict[int, str]
    """Maps the number of each dropped row to the text at fault."""
    repair_reasons: dict[int, str]
    """Maps the number of each repaired row to the fault that the repair was meant to fix."""

    def __init__(self, folder: Path, chunk_texts: Mapping[str, str] | None) -> None:
        """Create a temporary file in `folder`. `chunk_texts` maps chunk ids to texts; None if no chunks are given.

        Raises IncompleteError if `folder` cannot be written.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by `close`
        except OSError as e:
            raise write_error(folder, e) from e
        self._chunk_texts = chunk_texts or {}
        self._keys: list[str] = []
        self._sizes: list[NDArray[np.int64]] = []
        self._dropped_by: list[NDArray[np.int16]] = []
        self._answerable: list[NDArray[np.bool_]] = []
        self._question_hashes: list[NDArray[np.uint64]] = []
        self._part: list[NDArray[np.int32]] = []
        self._bands: list[NDArray[np.uint64]] = []
        self._sketches: list[NDArray[np.uint8]] = []
        self._signatures: tuple[NDArray[np.uint64], NDArray[np.uint8]] | None = None
        self.spans = {}
        self.repair_reasons = {}
        self.cleaned: Counter[str] = Counter()
        """Maps field names to the number of rows in which cleaning changed the field."""
        self.reviewed: Counter[str] = Counter()
        """Number of rows per decision of a reviewer, named like the fields of `ReviewCounts`."""

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, block: CheckedBlock) -> None:
        """Append the rows in a block. Raises IncompleteError if the folder cannot be written, e.g. on a full disk."""
        first = len(self._keys)
        try:
            self._file.write(b"".join(block.rows))
            self._file.flush()
        except OSError as e:
            raise write_error(self._folder, e) from e
        self._keys += block.keys
        self.spans.update((first + n, span) for n, span in block.spans.items())
        self.repair_reasons.update((first + n, reason) for n, reason in block.repair_reasons.items())
        self.cleaned.update(block.cleaned)
        self.reviewed.update(block.reviewed)
        self._sizes.append(np.array([len(row) for row in block.rows], dtype=np.int64))
        self._dropped_by.append(np.array(block.dropped_by, dtype=np.int16))
        self._answerable.append(np.array(block.answerable, dtype=bool))
        self._question_hashes.append(np.array(block.question_hashes, dtype=np.uint64))
        self._part.append(np.full(len(block.keys), block.part, dtype=np.int32))
        if block.bands is not None and block.sketches is not None:
            self._bands.append(block.bands)
            self._sketches.append(block.sketches)

    def freeze(self) -> None:
        """Sort the rows into canonical order. Afterwards, no rows can be added. The table must not be empty."""
        order = np.array(sorted(range(len(self)), key=self._keys.__getitem__), dtype=np.int64)
        self._keys = [self._keys[i] for i in order.tolist()]
        sizes = np.concatenate(self._sizes)
        self._starts = (np.cumsum(sizes) - sizes)[order]
        self._row_sizes = sizes[order]
        self.dropped_by = _ordered(self._dropped_by, order)
        self.answerable = _ordered(self._answerable, order)
        self.question_hashes = _ordered(self._question_hashes, order)
        self.part = _ordered(self._part, order)
        if self._bands:
            self._signatures = _ordered(self._bands, order), _ordered(self._sketches, order)
        self.types = np.array([sys.intern(key.split("\0")[1][:40]) for key in self._keys], dtype=object)
        self.digests = np.array([int(key.rsplit("\0", 2)[1][-16:], 16) for key in self._keys], dtype=np.uint64)
        place = np.argsort(order)
        self.spans = {int(place[n]): span for n, span in self.spans.items()}
        self.repair_reasons = {int(place[n]): reason for n, reason in self.repair_reasons.items()}
        self._file.flush()

    @property
    def signatures(self) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        """MinHash bands and sketches of all rows. Available only if a rule is registered with `needs_signatures`."""
        if self._signatures is None:
            raise RuntimeError("no signatures: register the rule with needs_signatures=True")
        return self._signatures

    def release_signatures(self) -> None:
        """Free the memory that the signatures use, about 200 bytes per row."""
        self._signatures = None

    def passed(self) -> list[int]:
        """Return the rows that no rule has dropped so far."""
        rows: list[int] = np.flatnonzero(self.dropped_by == NOT_DROPPED).tolist()
        return rows

    def drop(self, i: int, position: int, span: str) -> None:
        """Mark row `i` as dropped by the rule at `position`. `span` is the text at fault."""
        self.dropped_by[i] = position
        self.spans[i] = span

    def chunk_id(self, i: int) -> str:
        """Return the chunk id of row `i` without reading the row from the file."""
        return self._keys[i].partition("\0")[0]

    def row(self, i: int) -> Row:
        """Read row `i` from the file."""
        raw = os.pread(self._file.fileno(), int(self._row_sizes[i]), int(self._starts[i]))
        row = Row(**json.loads(raw))
        row.input = row.input or self._chunk_texts.get(row.chunk_id, "")
        return row

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()


def _ordered(blocks: list[NDArray[D]], order: NDArray[np.int64]) -> NDArray[D]:
    """Concatenate the blocks, reorder the entries, and clear the list of blocks to free memory."""
    column = np.concatenate(blocks)
    blocks.clear()
    return column[order]
