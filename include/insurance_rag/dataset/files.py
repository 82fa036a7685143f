"""Data files: JSON arrays with one row a line, and Parquet, both written row by row and atomically."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from insurance_rag.artifacts import atomic_write

PARQUET_ROWS = 5000
"""Rows held in memory for one row group."""


class RowWriter:
    """Writes rows to a JSON array and, if wanted, to a Parquet file; counts them."""

    def __init__(self, array: Any, parquet: Any = None) -> None:
        self.rows = 0
        self._array, self._parquet = array, parquet
        self._waiting: list[dict[str, Any]] = []
        self._writer: Any = None

    def write(self, row: dict[str, Any]) -> None:
        self._array.write(("[\n" if self.rows == 0 else ",\n") + json.dumps(row, ensure_ascii=False))
        self.rows += 1
        if self._parquet is not None:
            # The shape of `meta` is the teacher's business; a column needs one type.
            self._waiting.append({**row, "meta": json.dumps(row["meta"], ensure_ascii=False)} if "meta" in row else row)
            if len(self._waiting) == PARQUET_ROWS:
                self._flush()

    def close(self) -> None:
        self._array.write("\n]\n" if self.rows else "[]\n")
        if self._parquet is not None and self._waiting:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pylist(self._waiting, schema=self._writer.schema if self._writer else None)
        self._writer = self._writer or pq.ParquetWriter(self._parquet, table.schema)
        self._writer.write_table(table)
        self._waiting = []


@contextlib.contextmanager
def row_writer(path: Path, parquet: Path | None = None) -> Iterator[RowWriter]:
    """Both files appear when the block ends without an error, or neither does."""
    with contextlib.ExitStack() as stack:
        array = stack.enter_context(atomic_write(path))
        columns = stack.enter_context(atomic_write(parquet, "wb")) if parquet else None
        writer = RowWriter(array, columns)
        yield writer
        writer.close()
