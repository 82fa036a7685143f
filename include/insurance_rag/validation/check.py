"""Every row against the row rules, block by block, on all cores; what the rules that compare rows need comes back."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.validation.parallel import in_order
from insurance_rag.validation.rows import Block, Row, parse_row
from insurance_rag.validation.rules import RULES, SET_RULES, Clause, Context
from insurance_rag.validation.shingles import BANDS, PERMUTATIONS, signatures

KEPT = 999
"""Position of the dropping rule of a row that no rule drops."""
SINGLE_PROCESS_ROWS = 20_000
"""Starting processes does not pay below."""


@dataclass
class Checked:
    """Columns of one block: the n-th entry of each is about its n-th row. Spans and bands are of some rows only."""

    part: int
    size: int
    """Rows read, for the progress bar."""
    keys: list[str] = field(default_factory=list)
    """Canonical place of a row: clause, type, content."""
    rows: list[bytes] = field(default_factory=list)
    dropped_by: list[int] = field(default_factory=list)
    """Position of the first row rule that drops it, or KEPT."""
    answerable: list[bool] = field(default_factory=list)
    questions: list[int] = field(default_factory=list)
    """64-bit hash of the instruction."""
    spans: dict[int, str] = field(default_factory=dict)
    bands: Any = None
    sketches: Any = None
    mended: Counter[str] = field(default_factory=Counter)
    asked_again: dict[int, str] = field(default_factory=dict)
    """Rows of a second answer: the reason why the first was at fault."""


@dataclass(frozen=True)
class Job:
    """What a worker needs besides the rows."""

    config: ValidationConfig
    clauses: Mapping[str, str] | None
    leaking: frozenset[str]
    questions: frozenset[str]


class _Clauses(Mapping[str, Clause]):
    """Clauses read when asked for; the last few thousand stay read."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._read = lru_cache(maxsize=2000)(Clause)

    def __getitem__(self, chunk_id: str) -> Clause:
        return self._read(self._texts[chunk_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, chunk_id: object) -> bool:
        return chunk_id in self._texts


def make_context(job: Job) -> Context:
    clauses = None if job.clauses is None else _Clauses(job.clauses)
    return Context(job.config, clauses, job.leaking, job.questions)


def check_rules(config: ValidationConfig) -> None:
    """InvalidInputError for a rule that does not exist or stands twice."""
    known = (*RULES, *SET_RULES)
    problems = [f"rules: {name!r} is none; there are {', '.join(known)}" for name in config.rules if name not in known]
    if len(set(config.rules)) < len(config.rules):
        problems.append("rules: a rule stands twice")
    if problems:
        raise InvalidInputError(problems)


def check_block(block: Block, context: Context) -> Checked:
    config = context.config
    rules = [(i, RULES[name]) for i, name in enumerate(config.rules) if name in RULES]
    checked = Checked(block.part, len(block.rows))
    pairs: list[str] = []
    for n, raw in enumerate(block.rows):
        row = parse_row(raw, config.max_characters)
        drop = KEPT
        # A row of no readable shape has no content to judge; with the spec's rules alone it lacks its fields.
        if row.problem:
            drop = config.rules.index("malformed" if "malformed" in config.rules else "required_fields")
            checked.spans[n] = row.problem
        else:
            for position, rule in rules:
                if (span := rule(row, context)) is not None:
                    drop, checked.spans[n] = position, span[:300]
                    break
        _append(checked, row, drop, context)
        pairs.append(f"{row.instruction}\n{row.output}" if drop == KEPT else "")
    if "near_duplicate" in config.rules:
        _add_signatures(checked, pairs)
    return checked


def _append(checked: Checked, row: Row, drop: int, context: Context) -> None:
    if row.meta and row.meta.get("repaired") is True:
        checked.asked_again[len(checked.keys)] = str(row.meta.get("repair_reason"))
    fields_of_row = row.fields
    if drop == KEPT and context.clauses is not None and row.chunk_id in context.clauses:
        fields_of_row["input"] = ""  # the clause itself, which is put back when the row is read
    encoded = json.dumps(fields_of_row, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")
    digest = hashlib.blake2b(encoded, digest_size=16).hexdigest()
    kind = "" if row.problem else row.type  # of a malformed row it can be anything
    checked.keys.append(f"{row.chunk_id}\0{kind}\0{digest}")
    checked.rows.append(encoded)
    checked.dropped_by.append(drop)
    checked.answerable.append(row.answerable)
    question = hashlib.blake2b(row.instruction.encode("utf-8", "replace"), digest_size=8)
    checked.questions.append(int.from_bytes(question.digest(), "little"))
    checked.mended.update(row.mended)


def _add_signatures(checked: Checked, pairs: list[str]) -> None:
    alive = [n for n, drop in enumerate(checked.dropped_by) if drop == KEPT]
    checked.bands = np.zeros((len(pairs), BANDS), dtype=np.uint64)
    checked.sketches = np.zeros((len(pairs), PERMUTATIONS), dtype=np.uint8)
    checked.bands[alive], checked.sketches[alive] = signatures([pairs[n] for n in alive])


# ---- on several cores

_context: Context | None = None


def _start_worker(job: Job) -> None:
    global _context
    _context = make_context(job)


def _check_in_worker(block: Block) -> Checked:
    assert _context is not None
    return check_block(block, _context)


def check_blocks(blocks: Iterable[Block], job: Job) -> Iterator[Checked]:
    """`check_block` of each, in order; on several processes from the point where that pays."""
    workers = job.config.workers or os.cpu_count() or 1
    source = iter(blocks)
    head: list[Block] = []
    rows = 0
    for block in source:
        head.append(block)
        rows += len(block.rows)
        if rows > SINGLE_PROCESS_ROWS:
            break
    if workers == 1 or rows <= SINGLE_PROCESS_ROWS:
        context = make_context(job)
        for block in _chain(head, source):
            yield check_block(block, context)
        return
    # spawn: a fork of a process with threads (Arrow's, Airflow's) may hang
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (job,)) as pool:
        yield from in_order(pool, _check_in_worker, _chain(head, source), ahead=2 * workers)


def _chain(head: list[Block], rest: Iterator[Block]) -> Iterator[Block]:
    yield from head
    yield from rest


# ---- all blocks together


class Table:
    """All rows in canonical order: small columns in memory, the rows themselves in an unnamed file."""

    def __init__(self, folder: Path, clauses: Mapping[str, str] | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by `close`
        self._clauses = clauses or {}
        self._keys: list[str] = []
        self._spans: dict[int, str] = {}
        self._asked_again: dict[int, str] = {}
        self._columns: dict[str, list[Any]] = {}
        self._n = 0
        self.mended: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._n

    def add(self, checked: Checked) -> None:
        self._file.write(b"".join(checked.rows))
        self._keys += checked.keys
        self._spans.update((self._n + n, span) for n, span in checked.spans.items())
        self._asked_again.update((self._n + n, reason) for n, reason in checked.asked_again.items())
        self._n += len(checked.keys)
        self.mended.update(checked.mended)
        columns = {
            "size": np.array([len(row) for row in checked.rows], dtype=np.int64),
            "dropped_by": np.array(checked.dropped_by, dtype=np.int16),
            "answerable": np.array(checked.answerable, dtype=bool),
            "question": np.array(checked.questions, dtype=np.uint64),
            "part": np.full(len(checked.keys), checked.part, dtype=np.int32),
            "bands": checked.bands,
            "sketches": checked.sketches,
        }
        for name, column in columns.items():
            if column is not None:
                self._columns.setdefault(name, []).append(column)

    def freeze(self) -> None:
        """Sort into canonical order; no more rows can be added."""
        order = np.array(sorted(range(self._n), key=self._keys.__getitem__), dtype=np.int64)
        self._keys = [self._keys[i] for i in order.tolist()]
        columns = {name: np.concatenate(self._columns.pop(name)) for name in list(self._columns)}
        starts = np.cumsum(columns["size"]) - columns["size"]
        self._starts, self._sizes = starts[order], columns["size"][order]
        self.dropped_by: Any = columns["dropped_by"][order]
        self.answerable: Any = columns["answerable"][order]
        self.questions: Any = columns["question"][order]
        self.part: Any = columns["part"][order]
        self.bands: Any = columns["bands"][order] if "bands" in columns else None
        self.sketches: Any = columns["sketches"][order] if "sketches" in columns else None
        self.types: Any = np.array([sys.intern(key.split("\0")[1][:40]) for key in self._keys], dtype=object)
        self.digests: Any = np.array([int(key[-16:], 16) for key in self._keys], dtype=np.uint64)
        place = np.argsort(order)
        self.spans = {int(place[n]): span for n, span in self._spans.items()}
        self.asked_again = {int(place[n]): reason for n, reason in self._asked_again.items()}
        self._file.flush()

    def chunk_id(self, i: int) -> str:
        return self._keys[i].partition("\0")[0]

    def row(self, i: int) -> Row:
        """The i-th row in canonical order."""
        raw = os.pread(self._file.fileno(), int(self._sizes[i]), int(self._starts[i]))
        row = Row(**json.loads(raw))
        row.input = row.input or self._clauses.get(row.chunk_id, "")
        return row

    def close(self) -> None:
        self._file.close()
