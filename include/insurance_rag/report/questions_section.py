"""Read the questions with their answers and findings, and the chunks that the questions refer to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from insurance_rag.core.metrics import Metric
from insurance_rag.core.records import Chunk, ScoredAnswer
from insurance_rag.core.registry import Registry, registry
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.report.reader import Reader
from insurance_rag.report.view import ShownAnswer, ShownChunk, ShownFinding, ShownQuestion


def read_questions(reader: Reader, run: RunFolder) -> list[ShownQuestion] | None:
    """Return the questions with their answers, in file order, or None if there are no answers.

    If a model's answer from the gold chunks differs from its answer from the retrieved chunks, both are returned.
    """
    by_question = _by_question(reader, run.evaluation / "answers.jsonl")
    given_gold = _by_question(reader, run.evaluation / "answers_gold.jsonl")
    return [_question(rows, given_gold.get(name, [])) for name, rows in by_question.items()] or None


def read_chunks(reader: Reader, run: RunFolder, questions: Iterable[ShownQuestion]) -> dict[str, ShownChunk]:
    """Return the chunks that the questions refer to, by chunk id, from the run folder's copy of the input."""
    wanted = {chunk_id for question in questions for chunk_id in (*question.gold, *question.retrieved)}
    rows = (row for row in reader.objects(run.chunks) if row.get("chunk_id") in wanted) if wanted else ()
    chunks = [reader.parse(run.chunks, Chunk, row) for row in rows]
    return {chunk.chunk_id: ShownChunk(text=chunk.text, title=chunk.metadata.breadcrumbs) for chunk in chunks if chunk}


def _by_question(reader: Reader, path: Path) -> dict[str, list[ScoredAnswer]]:
    rows: dict[str, list[ScoredAnswer]] = {}
    for row in reader.records(path, ScoredAnswer):
        rows.setdefault(row.question_id, []).append(row)
    return rows


def _question(rows: Sequence[ScoredAnswer], given_gold: Sequence[ScoredAnswer]) -> ShownQuestion:
    first = rows[0]
    answers = [_answer(row) for row in rows]
    return ShownQuestion(
        id=first.question_id,
        question=first.question,
        type=first.type,
        product=first.product,
        answerable=first.answerable,
        gold=first.gold_chunk_ids,
        retrieved=first.chunk_ids,
        reference=first.reference_answer,
        answers=answers,
        gold_answers=[answer for answer in map(_answer, given_gold) if answer not in answers],
    )


def _answer(row: ScoredAnswer) -> ShownAnswer:
    changed = row.raw_answer.strip() != row.answer.strip()
    metrics: Registry[Metric] = registry("metric")
    counted = metrics["correct"].population(row)
    return ShownAnswer(
        model=row.model,
        answer=row.answer,
        raw=row.raw_answer if changed else None,
        cut=row.stop_cut,
        correct=row.correctness.correct if counted else None,
        unjudged=None if counted else row.correctness.cannot_judge or "unjudged_no_gold",
        problems=list(row.correctness.problems) if counted else [],
        hallucinated=row.hallucinated,
        refusal=row.refusal,
        findings=[ShownFinding(check=f.check, span=f.span, evidence=f.evidence) for f in row.findings],
    )
