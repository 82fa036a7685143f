"""Compares the rows of two datasets: which were added, removed or changed, by product and by type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.files import read_json
from insurance_rag.core.records import Chunk, QARow

UNKNOWN = "?"
"""Name of the product of a chunk that is in neither chunk file."""

RowKey = tuple[str, str, str]


@dataclass(frozen=True)
class RowChanges:
    """Numbers of rows of one group that differ between two datasets."""

    added: int
    removed: int
    changed: int
    """Rows with the same question and another answer."""

    @property
    def any(self) -> bool:
        """Whether a row differs."""
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True)
class DatasetChanges:
    """Differences between two datasets."""

    total: RowChanges
    by_product: Mapping[str, RowChanges] = field(default_factory=dict)
    by_type: Mapping[str, RowChanges] = field(default_factory=dict)


def compare_datasets(now: Path, before: Path, products: Mapping[str, str]) -> DatasetChanges:
    """Compare the rows of two dataset folders. `products` maps chunk ids to products."""
    new, old = read_rows(now), read_rows(before)
    added, removed = [*(new.keys() - old.keys())], [*(old.keys() - new.keys())]
    changed = [key for key in new.keys() & old.keys() if new[key]["output"] != old[key]["output"]]

    def group(name: Callable[[RowKey], str]) -> dict[str, RowChanges]:
        counts = [Counter(map(name, keys)) for keys in (added, removed, changed)]
        names = sorted(set().union(*counts))
        return {each: RowChanges(*(count[each] for count in counts)) for each in names}

    return DatasetChanges(
        RowChanges(len(added), len(removed), len(changed)),
        by_product=group(lambda key: products.get(key[0], UNKNOWN)),
        by_type=group(lambda key: key[1]),
    )


def read_rows(dataset: Path) -> dict[RowKey, QARow]:
    """Return the kept rows of a dataset, with those that are held out, by chunk, type and question."""
    folder = DatasetFolder(dataset)
    found: dict[RowKey, QARow] = {}
    for path in (folder.training("merged"), folder.heldout("merged")):
        rows: Iterable[QARow] = read_json(path) if path.is_file() else []
        found |= {(row["chunk_id"], row["type"], row["instruction"]): row for row in rows}
    return found


def product_of(chunks: Iterable[Chunk]) -> dict[str, str]:
    """Map the ids of chunks to the names of their products."""
    from insurance_rag.chunks.headings import product_name

    return {chunk.chunk_id: product_name(chunk) or UNKNOWN for chunk in chunks}
