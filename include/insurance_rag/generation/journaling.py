"""What the journal holds of a clause: its pairs, or why it was set aside."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from insurance_rag.core.errors import PipelineError
from insurance_rag.core.records.generation import AnswerRecord, QuarantinedChunk, RepairRecord
from insurance_rag.generation.repair import Fault, correction_version
from insurance_rag.generation.teachers.base import Reply
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem


def record_answer(
    ledger: GenerationJournal,
    job: WorkItem,
    reply: Reply,
    content: PromptSpec,
    key_id: str,
    faults: Sequence[Fault] = (),
) -> None:
    """The first answer; with `faults` it is to be asked again, by whichever worker opens the journal next."""
    meta = {
        "teacher": content.teacher,
        "model": content.model,
        "prompt_version": content.prompt_version,
        **_lineage(key_id),
    }
    told, listed = _told(reply), [asdict(fault) for fault in faults]
    record = AnswerRecord.model_validate({"chunk_id": job.chunk_id, **told, "meta": meta, "faults": listed})
    ledger.append(job.cache_key, record)


def record_repair(ledger: GenerationJournal, job: WorkItem, outcome: Reply | PipelineError, key_id: str) -> None:
    """Both answers of a clause that was asked again, or why the second is none: it is not asked a third time."""
    first = ledger.answer(job.cache_key)
    reply = outcome if isinstance(outcome, Reply) else Reply([])
    failed = {} if isinstance(outcome, Reply) else {"failed": str(outcome)}
    lineage = {"repair_version": correction_version(), **_lineage(key_id)}
    repair = RepairRecord.model_validate({**_told(reply), **failed, "meta": lineage})
    ledger.append(job.cache_key, first.model_copy(update={"repair": repair}))


def _told(reply: Reply) -> dict[str, Any]:
    usage = {"tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out}
    return {"pairs": [asdict(pair) for pair in reply.pairs], "usage": usage}


def _lineage(key_id: str) -> dict[str, str]:
    return {"key_id": key_id, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def record_quarantine(ledger: GenerationJournal, job: WorkItem, error: PipelineError) -> None:
    """Set a clause aside for good: no run asks for it again."""
    reason = {"InvalidAnswerError": "unreadable", "InvalidRequestError": "request"}.get(type(error).__name__, "blocked")
    record = QuarantinedChunk.model_validate({"chunk_id": job.chunk_id, "reason": reason, "detail": str(error)})
    ledger.append(job.cache_key, record)
