"""Writes data files row by row and atomically: JSON arrays with one row per line, and Parquet files."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from insurance_rag.core.files import atomic_write

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

PARQUET_ROWS = 5000
"""Number of rows per Parquet row group, and maximum number of rows held in memory."""
TEXT_COLUMNS = (
    "text",
    "prompt",
    "completion",
    "chunk_id",
    "type",
    "instruction",
    "input",
    "context",
    "output",
    "evidence",
)

PAIR_COLUMNS = ("chosen", "rejected", "kind", "label", "answer")
"""Further columns with text, which only preference pairs and rows for a verifier have."""


class RowWriter:
    """Writes rows to a JSON array and, optionally, to a Parquet file. `rows` is the number of rows written so far."""

    def __init__(self, array: IO[str], parquet: IO[bytes] | None = None) -> None:
        self.rows = 0
        self._array, self._parquet = array, parquet
        self._pending: list[str] = []
        self._columns: list[str] = []
        self._writer: pyarrow.parquet.ParquetWriter | None = None

    def write(self, row: Mapping[str, object]) -> None:
        """Append a row. The first row determines the columns of the Parquet file."""
        line = json.dumps(row, ensure_ascii=False)
        self._array.write(f",\n{line}" if self.rows else f"[\n{line}")
        self.rows += 1
        if self._parquet is not None:
            self._columns = self._columns or list(row)
            self._pending.append(line)
            if len(self._pending) == PARQUET_ROWS:
                self._flush(self._parquet)

    def close(self) -> None:
        """Write the pending rows and finish both files."""
        self._array.write("\n]\n" if self.rows else "[]\n")
        if self._parquet is not None and (self._pending or self._writer is None):
            self._flush(self._parquet)
        if self._writer is not None:
            self._writer.close()

    def _flush(self, parquet: IO[bytes]) -> None:
        """Write the pending rows as a row group. Arrow parses the JSON. Converting Python objects would be slower."""
        import pyarrow.json
        import pyarrow.parquet

        schema = _schema(self._columns or TEXT_COLUMNS)
        self._writer = self._writer or pyarrow.parquet.ParquetWriter(parquet, schema)
        if not self._pending:  # the file for an empty dataset contains only the schema
            return
        parse_options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        lines = io.BytesIO("\n".join(self._pending).encode())
        # Read all lines as one block, because Arrow rejects a row that is larger than a block.
        read_options = pyarrow.json.ReadOptions(block_size=max(1, lines.getbuffer().nbytes))
        table = pyarrow.json.read_json(lines, read_options=read_options, parse_options=parse_options)
        self._writer.write_table(table.cast(schema))
        self._pending = []


def _schema(columns: Sequence[str]) -> pyarrow.Schema:
    """Return the Parquet schema for these columns. It omits `meta`, whose fields and types depend on the teacher."""
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    types = dict.fromkeys((*TEXT_COLUMNS, *PAIR_COLUMNS), pa.string()) | {
        "answerable": pa.bool_(),
        "context_chunk_ids": pa.list_(pa.string()),
        "messages": pa.list_(message),
        "wrong": pa.list_(pa.string()),
    }
    return pa.schema([(name, types[name]) for name in columns if name in types])


@contextlib.contextmanager
def row_writer(path: Path, parquet: Path | None = None) -> Iterator[RowWriter]:
    """Open a JSON array and, optionally, a Parquet file. They appear only if the block ends without an error."""
    with contextlib.ExitStack() as stack:
        array = stack.enter_context(atomic_write(path))
        columns = stack.enter_context(atomic_write(parquet, "wb")) if parquet else None
        writer = RowWriter(array, columns)
        yield writer
        writer.close()
