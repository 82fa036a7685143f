"""What the checker looks at: the files of a run, the server's record, and the history of the campaign."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos.history import History
from gemini_simulator.pairs import GroundTruth
from gemini_simulator.records import RequestRecord
from insurance_rag.core.errors import PipelineError
from insurance_rag.core.files import read_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.journal import DAMAGED_SUFFIX
from insurance_rag.core.journal_lines import is_intact
from insurance_rag.core.records import Chunk, QAPair
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import read_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import work_items_by_shard

RowKey = tuple[str, str, str, str, bool]
"""(type, question, answer, evidence, whether the row replaces a faulty one)."""

_CHUNK_ID = re.compile(rb'"chunk_id": "([^"]+)"')


@dataclass(frozen=True)
class RunFiles:
    """What the checker reads from the files of a run."""

    run: RunFolder
    rows: Sequence[QAPair] = ()
    """Rows of all part files."""
    quarantined: frozenset[str] = frozenset()
    incomparable: frozenset[str] = frozenset()
    """Ids of the chunks whose rows depend on the faults: quarantined, or with a repair that failed or is pending."""
    problem: str = ""
    """Why the files cannot be read; empty if they can."""


@dataclass(frozen=True)
class Evidence:
    """Everything that the invariants are checked against."""

    files: RunFiles
    searched: tuple[Path, ...]
    """Folders in which no secret may appear."""
    secrets: tuple[str, ...]
    chunk_ids: Mapping[str, str]
    """Chunk id -> hash of the chunk's text, as in the server's record."""
    damaged: frozenset[str]
    """Ids of the chunks whose records the campaign damaged."""
    requests: Sequence[RequestRecord]
    ground_truth: Sequence[GroundTruth]
    history: History
    timeout_s: float
    """Timeout of a call, in seconds on the simulator's clock."""
    slack_s: float
    """Seconds on the simulator's clock between an answer's delivery and its record in the journal, at most."""
    reference: Mapping[str, frozenset[RowKey]] | None = None
    """Rows by chunk id of an undisturbed run with the same seed."""
    same_files: Sequence[tuple[Path, Path]] = ()
    """Pairs of folders, of the disturbed and of the undisturbed run, whose content must be the same."""


def row_key(row: QAPair) -> RowKey:
    """Return the content of a row that does not depend on when and by which key it was generated."""
    return row.type, row.instruction, row.output, row.evidence, bool(row.meta.get("repaired"))


def rows_by_chunk(rows: Sequence[QAPair]) -> dict[str, frozenset[RowKey]]:
    """Return the content of the rows of each chunk, without those that have a known fault and will be dropped.

    A faulty pair may be missing from an answer about several chunks, and which chunks share a call is a matter of time.
    """
    by_chunk: dict[str, set[RowKey]] = {}
    for row in rows:
        if "fault" not in row.meta:
            by_chunk.setdefault(row.chunk_id, set()).add(row_key(row))
    return {chunk_id: frozenset(keys) for chunk_id, keys in by_chunk.items()}


def read_rows(run: RunFolder) -> list[QAPair]:
    """Return the rows of all part files of the plan that exist."""
    paths = [run.part(shard.shard) for shard in read_plan(run).shards]
    return [QAPair.model_validate(row) for path in paths if path.exists() for row in read_json(path)]


def hash_chunks(chunks: Sequence[Chunk]) -> dict[str, str]:
    """Return the hash of each chunk's text as the simulator computes it, by chunk id."""
    return {chunk.chunk_id: hashlib.sha256(chunk.text.strip().encode()).hexdigest() for chunk in chunks}


def read_run(run: RunFolder) -> RunFiles:
    """Read the rows and the states of the chunks."""
    try:
        plan = read_plan(run)
        rows = read_rows(run)
        items = work_items_by_shard(run, PromptSpec.from_config(plan.config), plan.shards)
        quarantined, unrepaired = set[str](), set[str]()
        with GenerationJournal(run.journal) as journal:
            for item in (item for of_shard in items.values() for item in of_shard):
                if journal.is_quarantined(item.cache_key):
                    quarantined.add(item.chunk_id)
                elif item.cache_key in journal:
                    answer = journal.answer(item.cache_key)
                    if answer.faults and (answer.repair is None or answer.repair.failed is not None):
                        unrepaired.add(item.chunk_id)
    except PipelineError as e:
        return RunFiles(run, problem=str(e))
    return RunFiles(run, rows, frozenset(quarantined), frozenset(quarantined | unrepaired))


def damaged_chunks(history: History) -> frozenset[str]:
    """Return the ids of the chunks whose records the campaign damaged.

    A record that was appended to a damaged last line is damaged as well, so the lines that are damaged now count too,
    and those that the pipeline has moved to FILE.damaged.
    """
    found = set(history.damaged)
    for path in history.damaged_files:
        for file in (path, path.with_name(path.name + DAMAGED_SUFFIX)):
            lines = file.read_bytes().split(b"\n") if file.exists() else []
            damaged = (line for line in lines if line and not is_intact(line + b"\n"))
            found |= {chunk_id.decode(errors="replace") for line in damaged for chunk_id in _CHUNK_ID.findall(line)}
    return frozenset(found)


def tree_hashes(folder: Path) -> dict[str, str]:
    """Return relative path -> content hash of all files in a folder. Hidden files are left out."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}
