"""Record the outcome for a chunk in the journal: an answer, a repair, or the reason for a quarantine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

from insurance_rag.core.errors import InvalidAnswerError, InvalidRequestError, PipelineError
from insurance_rag.core.records.generation import (
    AnswerMeta,
    AnswerRecord,
    FaultRecord,
    PairRecord,
    QuarantinedChunk,
    RepairMeta,
    RepairRecord,
    TokenCount,
)
from insurance_rag.generation.repair import repair_version
from insurance_rag.generation.teachers.base import TeacherAnswer
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem


def record_answer(
    journal: GenerationJournal,
    item: WorkItem,
    answer: TeacherAnswer,
    spec: PromptSpec,
    key_id: str,
    faults: Sequence[FaultRecord] = (),
) -> None:
    """Record the first answer for a chunk. If there are `faults`, the faulty pairs will be requested once more."""
    meta = AnswerMeta(
        teacher=spec.teacher, model=spec.model, prompt_version=spec.prompt_version, key_id=key_id, at=_utc_now()
    )
    record = AnswerRecord(
        chunk_id=item.chunk_id, pairs=_pairs(answer), usage=_tokens(answer), meta=meta, faults=list(faults)
    )
    journal.append(item.cache_key, record)


def record_repair(
    journal: GenerationJournal, item: WorkItem, outcome: TeacherAnswer | PipelineError, key_id: str
) -> None:
    """Add the outcome of a repair call to the record of the chunk's first answer.

    The outcome is an answer or an error. A chunk is repaired at most once.
    """
    answer = TeacherAnswer([]) if isinstance(outcome, PipelineError) else outcome
    repair = RepairRecord(
        pairs=_pairs(answer),
        usage=_tokens(answer),
        meta=RepairMeta(repair_version=repair_version(), key_id=key_id, at=_utc_now()),
        failed=str(outcome) if isinstance(outcome, PipelineError) else None,
    )
    journal.append(item.cache_key, journal.answer(item.cache_key).model_copy(update={"repair": repair}))


def record_quarantine(journal: GenerationJournal, item: WorkItem, error: PipelineError) -> None:
    """Record that a chunk is quarantined, so that the run does not request it again."""
    journal.append(
        item.cache_key, QuarantinedChunk(chunk_id=item.chunk_id, reason=_quarantine_reason(error), detail=str(error))
    )


def _quarantine_reason(error: PipelineError) -> Literal["blocked", "request", "unreadable"]:
    if isinstance(error, InvalidAnswerError):
        return "unreadable"
    return "request" if isinstance(error, InvalidRequestError) else "blocked"


def _pairs(answer: TeacherAnswer) -> list[PairRecord]:
    return [PairRecord(type=p.type, question=p.question, answer=p.answer, evidence=p.evidence) for p in answer.pairs]


def _tokens(answer: TeacherAnswer) -> TokenCount:
    return TokenCount(tokens_in=answer.tokens_in, tokens_out=answer.tokens_out)


def _utc_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
