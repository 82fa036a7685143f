"""Applies the row rules to all rows, block by block and on all CPU cores."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.review.apply import NO_REVIEWS, RowReviews
from insurance_rag.validation.parallel import in_order
from insurance_rag.validation.parts import Block
from insurance_rag.validation.reviewed_rows import apply_decision
from insurance_rag.validation.row import Row, parse_row
from insurance_rag.validation.rules.registry import RULES, ChunkText, CrossRowRule, RowRule, RuleContext
from insurance_rag.validation.shingles import BANDS, PERMUTATIONS, signatures
from insurance_rag.validation.table import NOT_DROPPED, CheckedBlock

SINGLE_PROCESS_ROWS = 20_000
"""Up to this many rows are handled in a single process. Starting more processes would take longer than it saves."""
CACHED_CHUNKS = 2000
"""Maximum number of analyzed chunks that a process caches."""
SPAN_CHARACTERS = 300
UNREADABLE_ROW_RULES = ("malformed", "required_fields")
"""Unreadable rows are counted under the first of these rules that is configured. No other rule can check them."""


@dataclass(frozen=True)
class CheckSetup:
    """What a process needs to check rows, in addition to the rows themselves."""

    config: ValidationConfig
    chunk_texts: Mapping[str, str] | None = None
    """Maps chunk ids to texts; None if no chunks were given."""
    leaking: frozenset[str] = frozenset()
    """Ids of chunks that nearly repeat a chunk on the other side of the split."""
    questions: frozenset[str] = frozenset()
    """Evaluation questions with all whitespace removed."""
    labels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Maps chunk ids to the names and the breadcrumbs of their chunks, see `chunk_labels`."""
    several_products: bool = False
    """Whether the chunks are about several products."""
    reviews: RowReviews = NO_REVIEWS
    """What people decided about rows."""
    held_out: frozenset[str] = frozenset()
    """Ids of the chunks that are held out for the evaluation."""

    def rule_context(self) -> RuleContext:
        """Return the context for the row rules."""
        chunks = None if self.chunk_texts is None else _ChunkCache(self.chunk_texts, self.labels)
        return RuleContext(
            self.config, chunks, self.leaking, self.questions, self.several_products, self.reviews, self.held_out
        )


class _ChunkCache(Mapping[str, ChunkText]):
    """Maps chunk ids to chunk texts. Caches the most recently used CACHED_CHUNKS texts with their analyses."""

    def __init__(self, texts: Mapping[str, str], labels: Mapping[str, tuple[str, str]]) -> None:
        self._texts, self._labels = texts, labels
        self._analyzed = lru_cache(maxsize=CACHED_CHUNKS)(self._analyze)

    def _analyze(self, chunk_id: str) -> ChunkText:
        names, breadcrumbs = self._labels.get(chunk_id, ("", ""))
        return ChunkText(self._texts[chunk_id], names=names, breadcrumbs=breadcrumbs)

    def __getitem__(self, chunk_id: str) -> ChunkText:
        return self._analyzed(chunk_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, chunk_id: object) -> bool:
        return chunk_id in self._texts


def check_block(block: Block, context: RuleContext) -> CheckedBlock:
    """Check the rows in a block and encode them for the table."""
    config = context.config
    configured = [(position, RULES[name]) for position, name in enumerate(config.rules)]
    row_rules = [(position, rule) for position, rule in configured if isinstance(rule, RowRule)]
    unreadable = next(config.rules.index(name) for name in UNREADABLE_ROW_RULES if name in config.rules)
    checked = CheckedBlock(block.part)
    pairs: list[str] = []
    for n, raw in enumerate(block.rows):
        reviewed = apply_decision(parse_row(raw, config.max_characters), context)
        row, dropped_by = reviewed.row, NOT_DROPPED
        if row.problem:
            dropped_by, checked.spans[n] = unreadable, row.problem
        else:
            for position, rule in row_rules:
                if (span := rule.check(row, context)) is not None and not reviewed.overrules(rule.name):
                    dropped_by, checked.spans[n] = position, span[:SPAN_CHARACTERS]
                    break
        checked.reviewed.update(reviewed.counts())
        _append(checked, row, dropped_by, context)
        pairs.append(f"{row.instruction}\n{row.output}" if dropped_by == NOT_DROPPED else "")
    if any(isinstance(rule, CrossRowRule) and rule.needs_signatures for _, rule in configured):
        _add_signatures(checked, pairs)
    return checked


def _append(checked: CheckedBlock, row: Row, dropped_by: int, context: RuleContext) -> None:
    if row.meta.get("repaired") is True:
        checked.repair_reasons[len(checked.keys)] = str(row.meta.get("repair_reason"))
    fields = row.as_qa_row()
    if dropped_by == NOT_DROPPED and context.chunks is not None and row.chunk_id in context.chunks:
        fields["input"] = ""  # `RowTable.row` restores the input from the chunk
    encoded = _encoded(fields)
    # Row order and random draws depend on the content without `meta`, because `meta` contains the time of the answer.
    # Only rows with equal content are ordered by `meta`.
    content = {name: value for name, value in fields.items() if name != "meta"}
    content_digest = hashlib.blake2b(_encoded(content), digest_size=16).hexdigest()
    meta_digest = hashlib.blake2b(_encoded(fields["meta"]), digest_size=8).hexdigest()
    question_type = "" if row.problem else row.type  # an unreadable row's type can be any string
    checked.keys.append(f"{row.chunk_id}\0{question_type}\0{content_digest}\0{meta_digest}")
    checked.rows.append(encoded)
    checked.dropped_by.append(dropped_by)
    checked.answerable.append(row.answerable)
    question = hashlib.blake2b(row.instruction.encode("utf-8", "replace"), digest_size=8)
    checked.question_hashes.append(int.from_bytes(question.digest(), "little"))
    checked.cleaned.update(row.cleaned)


def _encoded(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")


def _add_signatures(checked: CheckedBlock, pairs: list[str]) -> None:
    """Compute the signatures of the rows that passed. `pairs` has the question and answer of each row."""
    passed = [n for n, dropped_by in enumerate(checked.dropped_by) if dropped_by == NOT_DROPPED]
    checked.bands = np.zeros((len(pairs), BANDS), dtype=np.uint64)
    checked.sketches = np.zeros((len(pairs), PERMUTATIONS), dtype=np.uint8)
    checked.bands[passed], checked.sketches[passed] = signatures([pairs[n] for n in passed])


def check_blocks(blocks: Iterable[Block], setup: CheckSetup) -> Iterator[CheckedBlock]:
    """Yield the checked blocks, in order. Uses several processes if there are more than SINGLE_PROCESS_ROWS rows."""
    workers = setup.config.workers or os.cpu_count() or 1
    remaining = iter(blocks)
    head: list[Block] = []
    rows = 0
    for block in remaining:
        head.append(block)
        rows += len(block.rows)
        if rows > SINGLE_PROCESS_ROWS:
            break
    everything = itertools.chain(head, remaining)
    if workers == 1 or rows <= SINGLE_PROCESS_ROWS:
        context = setup.rule_context()
        for block in everything:
            yield check_block(block, context)
        return
    # Use "spawn", because forking a process that has threads (from Arrow or Airflow) can deadlock.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (setup,)) as pool:
        yield from in_order(pool, _check_in_worker, everything, ahead=2 * workers)


_context: RuleContext | None = None
"""The rule context in a worker process; None in the main process."""


def _start_worker(setup: CheckSetup) -> None:
    global _context
    _context = setup.rule_context()


def _check_in_worker(block: Block) -> CheckedBlock:
    assert _context is not None
    return check_block(block, _context)
