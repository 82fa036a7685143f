"""Validates the parts in a run folder. The command line, the DAG and pods call this module."""

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
"""Number of chunk ids per shard in the message about missing answers."""


def validate_run(
    run: RunFolder,
    questions: Sequence[Question] | None = None,
    config: ValidationConfig | None = None,
    allow_partial: bool = False,
    previous: Path | None = None,
    *,
    chunks: Sequence[Chunk] | None = None,
    out: Path | None = None,
    reviews: Path | None = None,
) -> DatasetArtifact:
    """Write part files for unfinished shards, validate all parts and write the dataset folder.

    The documents that `questions` ask about are held out of training. `previous` is an earlier report.json, for
    measuring drift. `chunks` defaults to the run's chunks, and `out` to the run's dataset folder. `reviews` is the
    folder with the decisions of reviewers.

    If a chunk in the plan was neither answered nor quarantined, the dataset is partial. Raises IncompleteError for a
    partial dataset, unless `allow_partial` is set; then the artifact's `complete` is False. Raises InvalidInputError
    for input that cannot be validated.
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
        reviews=reviews,
    )


def _missing_message(missing: Mapping[str, Sequence[str]]) -> str:
    """Return the error message. `missing` maps the label of a shard to the ids of its unanswered chunks."""
    total = sum(map(len, missing.values()))
    shards = [f"{label}: {len(ids)} chunks, e.g. {', '.join(ids[:EXAMPLES])}" for label, ids in missing.items()]
    advice = "run `generate` again, or allow a partial dataset (--allow-partial)"
    return "\n  - ".join([f"{total} chunks have no answer yet; {advice}:", *shards])
