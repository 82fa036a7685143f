"""Journal records for the tests."""

from __future__ import annotations

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

META = AnswerMeta(teacher="gemini", model="m", prompt_version="qa_v1@1", key_id="k1", at="2026-11-25T09:00:00Z")
PAIR = PairRecord(type="fact", question="무엇인가요?\n", answer="입원보험금입니다.", evidence="입원한 때")
REPAIR = RepairRecord(
    pairs=[PAIR],
    usage=TokenCount(),
    meta=RepairMeta(repair_version="repair_v1@1", key_id="k1", at="2026-11-25T09:01:00Z"),
)


def cache_key(n: int) -> str:
    return f"{n:064x}"


def answer(chunk_id: str, *, pairs: int = 1) -> AnswerRecord:
    return AnswerRecord(chunk_id=chunk_id, pairs=[PAIR] * pairs, usage=TokenCount(tokens_in=9, tokens_out=3), meta=META)


def repairable(chunk_id: str) -> AnswerRecord:
    faults = [FaultRecord(type="fact", reason="too_short", span="네", pair=0)]
    return answer(chunk_id).model_copy(update={"faults": faults})


def repaired(chunk_id: str) -> AnswerRecord:
    return repairable(chunk_id).model_copy(update={"repair": REPAIR})


def quarantined(chunk_id: str) -> QuarantinedChunk:
    return QuarantinedChunk(chunk_id=chunk_id, reason="blocked", detail="RECITATION")
