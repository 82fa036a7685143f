"""Divides the rows that passed every rule into training rows, held-out rows and rows that exceed a cap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from insurance_rag.config import DatasetConfig
from insurance_rag.core.records import Chunk
from insurance_rag.dataset.balance import Grouping, rows_over_cap
from insurance_rag.dataset.contexts import product
from insurance_rag.dataset.draws import Draw, hash_uniform
from insurance_rag.validation.contamination import Split
from insurance_rag.validation.table import RowTable

UNKNOWN = "unknown"
"""Group name for rows without a type or with an unknown chunk."""


@dataclass(frozen=True)
class Selection:
    """Row numbers of the training rows, the held-out rows and the rows above a cap. Each list is in canonical order."""

    training: list[int]
    heldout: list[int]
    over_cap: list[int]
    """Rows that passed every rule but are left out because of a cap."""
    groups: Grouping
    """Question types, companies and products of the training rows."""


def select_rows(table: RowTable, chunks: Mapping[str, Chunk], split: Split, config: DatasetConfig) -> Selection:
    """Assign each row that passed every rule to training, to the held-out rows, or to the rows above a cap."""
    passed = table.passed()
    heldout = [i for i in passed if table.chunk_id(i) in split.held_out]
    candidates = sorted(set(passed) - set(heldout))
    draws = [hash_uniform(int(digest), config.seed, Draw.CAP) for digest in table.digests[candidates]]
    caps: dict[str, float] = dict(config.caps.items())
    over_cap = {candidates[n] for n in rows_over_cap(_groups(table, chunks, candidates), caps, draws)}
    training = [i for i in candidates if i not in over_cap]
    return Selection(training, heldout, sorted(over_cap), _groups(table, chunks, training))


def _groups(table: RowTable, chunks: Mapping[str, Chunk], rows: Sequence[int]) -> dict[str, list[str]]:
    owners = [chunks.get(table.chunk_id(i)) for i in rows]
    return {
        "type": [str(table.types[i]) or UNKNOWN for i in rows],
        "company": [c.metadata.company if c else UNKNOWN for c in owners],
        "product": [product(c) if c else UNKNOWN for c in owners],
    }
