"""Describes in Markdown how a new edition of the documents differs, and which evaluation questions it touches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from insurance_rag.core.record_files import read_record
from insurance_rag.core.records.ingest import EditionChanges
from insurance_rag.core.records.questions import GoldStatus, QuestionsCheck
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.markdown import escape

MAX_NAMES = 10
"""Maximum number of chunk ids or questions in a list."""

STATUS: dict[GoldStatus, str] = {
    "unchanged": "unchanged",
    "changed": "its chunk changed, but still gives the answer",
    "broken": "its chunk no longer gives the answer, so it is left out",
    "moved": "its chunk has another place",
    "gone": "its chunk no longer exists, so it is left out",
}


def edition_lines(run: RunFolder) -> Iterator[str]:
    """Yield the changes since the edition that was published last; nothing if the run did not compare editions."""
    yield from _chunk_lines(run)
    yield from _question_lines(run)


def _chunk_lines(run: RunFolder) -> Iterator[str]:
    path = run.ingested.with_suffix(".changes.json")
    if not path.is_file():
        return
    changes = read_record(path, EditionChanges, "a comparison of editions", "clear the task `ingest_documents`")
    counts = changes.counts
    yield "#### What changed in the documents"
    yield ""
    yield (
        f"Chunks: {counts.added:,} added, {counts.changed:,} changed, {counts.removed:,} removed, "
        f"{counts.moved:,} moved, {counts.unchanged:,} unchanged."
    )
    yield ""
    yield from _names("added", changes.added)
    yield from _names("changed", [chunk.new for chunk in changes.changed])
    yield from _names("removed", changes.removed)
    yield ""


def _question_lines(run: RunFolder) -> Iterator[str]:
    """Yield the evaluation questions that the changes touch."""
    path = run.questions.with_suffix(".check.json")
    if not path.is_file():
        return
    flagged = [
        q
        for q in read_record(path, QuestionsCheck, "a check of questions", "clear the task that checks them").questions
        if q.flagged
    ]
    if not flagged:
        return
    left_out = sum(q.status in ("broken", "gone") for q in flagged)
    yield f"#### Evaluation questions that these changes touch ({len(flagged):,}, of which {left_out:,} cannot be used)"
    yield ""
    for question in flagged[:MAX_NAMES]:
        yield f"- {escape(question.question)} ({STATUS[question.status]})"
    if len(flagged) > MAX_NAMES:
        yield f"- and {len(flagged) - MAX_NAMES:,} more"
    yield ""
    yield "Start the DAG `make_questions` to replace those that cannot be used."
    yield ""


def _names(title: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
        yield f"- {title}: {', '.join(escape(name) for name in names[:MAX_NAMES])}{more}"
