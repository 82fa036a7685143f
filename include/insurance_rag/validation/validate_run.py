"""Validate the parts of a run folder: what the command line, the DAG and a pod call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.chunks import read_chunks
from insurance_rag.config import ValidationConfig
from insurance_rag.core.errors import IncompleteError
from insurance_rag.core.records import Chunk, DatasetArtifact, Question
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import missing_chunks, write_open_parts
from insurance_rag.planning.plan import read_plan
from insurance_rag.validation.validate import validate_parts

EXAMPLES = 3
"""Chunk ids named per shard in the message about missing answers."""


def validate_run(
    run: RunFolder,
    questions: Sequence[Question] | None = None,
    config: ValidationConfig | None = None,
    allow_partial: bool = False,
    previous: Path | None = None,
    *,
    chunks: Sequence[Chunk] | None = None,
    out: Path | None = None,
) -> DatasetArtifact:
    """Write the part files of unfinished shards, validate all parts and write the dataset folder.

    `questions` hold their documents out of training. `previous` is the report.json that drift is measured against.
    `chunks` defaults to the run's own chunks and `out` to its dataset folder. The artifact's `complete` says whether
    every chunk of the plan was answered or quarantined. Raises IncompleteError if some were not, unless
    `allow_partial` is set, and InvalidInputError for input that cannot be validated.
    """
    missing = missing_chunks(run)
    if missing and not allow_partial:
        raise IncompleteError(_missing_message(missing))
    write_open_parts(run, read_plan(run))
    return validate_parts(
        [run.parts],
        read_chunks(run.chunks) if chunks is None else chunks,
        out or run.dataset,
        config,
        questions=questions,
        previous=previous,
        progress=run.progress,
        complete=not missing,
    )


def _missing_message(missing: Mapping[str, Sequence[str]]) -> str:
    """`missing` maps the label of a shard to the ids of its chunks without an answer."""
    total = sum(map(len, missing.values()))
    shards = [f"{label}: {len(ids)} chunks, e.g. {', '.join(ids[:EXAMPLES])}" for label, ids in missing.items()]
    advice = "generate these shards again, or allow a partial dataset"
    return "\n  - ".join([f"{total} chunks have no answer yet; {advice}:", *shards])
