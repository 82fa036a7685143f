"""What the journal holds of a clause: its pairs, or why it was set aside."""

from __future__ import annotations

import time
from dataclasses import asdict

from insurance_rag.errors import PipelineError
from insurance_rag.generation.teacher import Reply
from insurance_rag.shards.content import Content
from insurance_rag.shards.jobs import Job
from insurance_rag.shards.ledger import Ledger


def record_answer(ledger: Ledger, job: Job, reply: Reply, content: Content, key_id: str) -> None:
    meta = {
        "teacher": content.teacher,
        "model": content.model,
        "prompt_version": content.prompt_version,
        "key_id": key_id,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    usage = {"tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out}
    pairs = [asdict(pair) for pair in reply.pairs]
    ledger.append(job.key, "answered", chunk_id=job.chunk_id, pairs=pairs, usage=usage, meta=meta)


def record_quarantine(ledger: Ledger, job: Job, error: PipelineError) -> None:
    """Set a clause aside for good: no run asks for it again."""
    reason = {"BadAnswer": "unreadable", "WrongRequest": "request"}.get(type(error).__name__, "blocked")
    ledger.append(job.key, "quarantined", chunk_id=job.chunk_id, reason=reason, detail=str(error))
