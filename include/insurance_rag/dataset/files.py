"""Data files: JSON arrays with one row a line, and Parquet, both written row by row and atomically."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from insurance_rag.core.files import atomic_write

PARQUET_ROWS = 5000
"""Rows held in memory for one row group."""
TEXTS = ("text", "prompt", "completion", "chunk_id", "type", "instruction", "input", "output", "evidence")


class RowWriter:
    """Writes rows to a JSON array and, if wanted, to a Parquet file; counts them."""

    def __init__(self, array: Any, parquet: Any = None) -> None:
        self.rows = 0
        self._array, self._parquet = array, parquet
        self._waiting: list[str] = []
        self._columns: list[str] = []
        self._writer: Any = None

    def write(self, row: dict[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False)
        self._array.write(f",\n{line}" if self.rows else f"[\n{line}")
        self.rows += 1
        if self._parquet is not None:
            self._columns = self._columns or list(row)
            self._waiting.append(line)
            if len(self._waiting) == PARQUET_ROWS:
                self._flush()

    def close(self) -> None:
        self._array.write("\n]\n" if self.rows else "[]\n")
        if self._parquet is not None and (self._waiting or self._writer is None):
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        """Arrow reads the lines by itself: many times quicker than Python objects, and without importing pandas."""
        import pyarrow.json
        import pyarrow.parquet

        schema = _schema(self._columns or list(TEXTS))
        if not self._waiting:  # a file without rows is a Parquet file all the same
            self._writer = pyarrow.parquet.ParquetWriter(self._parquet, schema)
            return
        options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        lines = io.BytesIO("\n".join(self._waiting).encode())
        # One block: a row that is larger than a block is refused.
        reading = pyarrow.json.ReadOptions(block_size=max(1, lines.getbuffer().nbytes))
        table = pyarrow.json.read_json(lines, read_options=reading, parse_options=options)
        self._writer = self._writer or pyarrow.parquet.ParquetWriter(self._parquet, schema)
        self._writer.write_table(table.cast(schema))
        self._waiting = []


def _schema(columns: list[str]) -> Any:
    """Of a Parquet file. `meta` stays out of it: its shape is the teacher's business, and a column needs one type."""
    import pyarrow as pa

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    types = dict.fromkeys(TEXTS, pa.string()) | {
        "answerable": pa.bool_(),
        "context_chunk_ids": pa.list_(pa.string()),
        "messages": pa.list_(message),
    }
    return pa.schema([(name, types[name]) for name in columns if name in types])


@contextlib.contextmanager
def row_writer(path: Path, parquet: Path | None = None) -> Iterator[RowWriter]:
    """Both files appear when the block ends without an error, or neither does."""
    with contextlib.ExitStack() as stack:
        array = stack.enter_context(atomic_write(path))
        columns = stack.enter_context(atomic_write(parquet, "wb")) if parquet else None
        writer = RowWriter(array, columns)
        yield writer
        writer.close()
