"""The rows that the data files are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from insurance_rag.core.records import QARow
from insurance_rag.dataset.contexts import RowContext
from insurance_rag.dataset.draws import Draw, hash_uniform


@dataclass(frozen=True)
class DatasetRows:
    """The selected rows, by row number. `read` loads one row at a time, because a million rows do not fit in memory."""

    training: Sequence[int]
    heldout: Sequence[int]
    read: Callable[[int], QARow]
    digests: NDArray[np.uint64]
    """Content hashes of all rows, including rows that were not selected."""
    answerable: NDArray[np.bool_]
    """For each row, whether it is labeled answerable. Includes rows that were not selected."""
    types: Callable[[int], str]
    """Question type of a row."""
    hits: Callable[[int], Sequence[str]] = lambda i: ()
    """Ids of the chunks that a search for a row's question found, best first. Empty if there was no search."""
    rejected: Callable[[int], Sequence[str]] = lambda i: ()
    """Answers of the teacher to a row's question that validation rejected before they were repaired."""

    def draw(self, i: int, seed: int, draw: Draw) -> float:
        """Return a uniform random number in [0, 1) that depends only on the row's content, `seed` and `draw`."""
        return hash_uniform(int(self.digests[i]), seed, draw)


@dataclass(frozen=True)
class ContextRow:
    """A row, and its context in prompt formats with retrieved contexts."""

    row: QARow
    context: RowContext | None
    """None if the row's chunk is unknown. The context is then the row's `input`."""
    made_refusal: bool = False
    """Whether the row was made from an answerable one by showing a context that lacks the answer."""
    repetition: int = 0
    """Number of earlier rows from the same row, with other contexts."""
