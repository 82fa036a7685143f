"""Writes the files with right and wrong answers: preference pairs, and rows for training a verifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from insurance_rag.config import DatasetConfig
from insurance_rag.core.prompt_templates import RAG
from insurance_rag.core.records.dataset import KindCounts
from insurance_rag.dataset.contexts import Contexts
from insurance_rag.dataset.draws import Draw
from insurance_rag.dataset.faulty_answers import FAULTS
from insurance_rag.dataset.files import RowWriter
from insurance_rag.dataset.formats import format_row
from insurance_rag.dataset.kind_balance import balanced_weights
from insurance_rag.dataset.preferences import PairSource, possible_kinds, preference_rows
from insurance_rag.dataset.rows import ContextRow, DatasetRows
from insurance_rag.dataset.verifier_rows import possible_faults, verifier_rows

SAMPLED_ROWS = 500
"""Number of rows on which the weights of the kinds are fitted."""


@dataclass(frozen=True)
class Split:
    """The selected rows of one split, and the chunks that they may show."""

    rows: DatasetRows
    selected: Sequence[int]
    contexts: Contexts
    config: DatasetConfig
    contexts_per_row: int = 1
    """Number of retrieval-style rows per row. Held-out rows are not repeated."""


@dataclass(frozen=True)
class KindWeights:
    """Weights with which the kinds of wrong answers are chosen (see `balanced_weights`)."""

    preferences: Mapping[str, float]
    faults: Mapping[str, float]


@dataclass
class DerivedFiles:
    """The open files of one split; None if the configuration does not ask for one. Counts their rows by kind."""

    split: Split
    weights: KindWeights
    preference_file: RowWriter | None
    verifier_file: RowWriter | None
    preferences: Counter[str] = field(default_factory=Counter)
    verifier: Counter[str] = field(default_factory=Counter)

    def write(self, i: int, shown: Sequence[ContextRow]) -> None:
        """Write what is made from row `i`. `shown` are the row with its contexts, and the refusals made from it."""
        rows, config = self.split.rows, self.split.config
        limit = config.preference_pairs.max_rows / len(self.split.selected)
        if self.preference_file is not None and rows.draw(i, config.seed, Draw.PREFERENCE) < limit:
            for source in pair_sources(self.split, i, shown):
                for pair in preference_rows(source, self.weights.preferences, config.preference_pairs, config.seed):
                    self.preference_file.write(pair)
                    self.preferences[pair["kind"]] += 1
        if self.verifier_file is not None:
            for row in verifier_rows(shown[0].row, self.split.contexts, rows.hits(i), self.weights.faults, config):
                self.verifier_file.write(row)
                self.verifier[row["kind"]] += 1


def pair_sources(split: Split, i: int, shown: Sequence[ContextRow]) -> Iterator[PairSource]:
    """Yield the sources of preference pairs: row `i`, and the refusal that was made from it, without repetitions."""
    right = split.contexts.alone(shown[0].row)
    gold = (shown[0].row["input"],) if right is None else tuple(chunk.text for chunk in right.chunks)
    for each in [each for each in shown if not each.repetition]:
        chunks = each.context.chunks if each.context else ()
        formatted = format_row(RAG, each.row, chunks)
        if formatted is not None:
            original = shown[0].row["output"] if each.made_refusal else ""
            rejected = () if each.made_refusal else split.rows.rejected(i)
            yield PairSource(formatted, gold, chunks, original, rejected)


def fit_weights(split: Split, show: Callable[[Sequence[int]], Iterator[list[ContextRow]]]) -> KindWeights:
    """Fit the weights on a sample of the split's rows. `show` yields the given rows with their contexts."""
    rows, config = split.rows, split.config
    by_hash = sorted(split.selected, key=lambda i: (rows.draw(i, config.seed, Draw.SAMPLE), i))
    sample = sorted(by_hash[:SAMPLED_ROWS]) if config.preferences or config.verifier_rows else []
    kinds: list[frozenset[str]] = []
    faults: list[frozenset[str]] = []
    for i, shown in zip(sample, show(sample), strict=True):
        if config.preferences:
            kinds += [possible_kinds(source, config.seed) for source in pair_sources(split, i, shown)]
        if config.verifier_rows:
            faults.append(possible_faults(shown[0].row, split.contexts, config.seed))
    shares: dict[str, float] = {kind: share for kind, share in config.preference_pairs.shares.items()}
    return KindWeights(balanced_weights(kinds, shares), balanced_weights(faults, dict.fromkeys(FAULTS, 1.0)))


def kind_counts(training: Counter[str], heldout: Counter[str]) -> KindCounts:
    """Return the number of rows by kind, sorted by kind."""
    return KindCounts(training=dict(sorted(training.items())), heldout=dict(sorted(heldout.items())))
