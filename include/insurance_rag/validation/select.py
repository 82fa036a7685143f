"""Of the rows that passed: which train, which are held out with their documents, which a cap leaves out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from insurance_rag.config import DatasetConfig
from insurance_rag.core.records import Chunk
from insurance_rag.dataset.balance import over_the_caps
from insurance_rag.dataset.build import chances
from insurance_rag.dataset.contexts import product
from insurance_rag.validation.check import KEPT, Table
from insurance_rag.validation.contamination import Split


@dataclass(frozen=True)
class Selection:
    """Row numbers in canonical order, and what the training rows are counted by."""

    training: list[int]
    heldout: list[int]
    surplus: list[int]
    groups: dict[str, list[Hashable]]


def select(table: Table, chunks: Mapping[str, Chunk], split: Split, config: DatasetConfig) -> Selection:
    passed = np.flatnonzero(table.dropped_by == KEPT).tolist()
    heldout = [i for i in passed if (c := chunks.get(table.chunk_id(i))) and c.metadata.source in split.documents]
    candidates = sorted(set(passed) - set(heldout))
    over = over_the_caps(
        _groups(table, chunks, candidates), config.caps, chances(table.digests[candidates], config.seed)
    )
    surplus = {candidates[n] for n in over}
    training = [i for i in candidates if i not in surplus]
    return Selection(training, heldout, sorted(surplus), _groups(table, chunks, training))


def _groups(table: Table, chunks: Mapping[str, Chunk], rows: Sequence[int]) -> dict[str, list[Hashable]]:
    owners = [chunks.get(table.chunk_id(i)) for i in rows]
    return {
        "type": [table.types[i] or "unknown" for i in rows],
        "company": [c.metadata.company if c else "unknown" for c in owners],
        "product": [product(c) if c else "unknown" for c in owners],
    }
