"""Record the outcome of a call in the journal, chunk by chunk: answers, repairs, or the reason for a quarantine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import IncompleteError, InvalidAnswerError, InvalidRequestError, PipelineError
from insurance_rag.core.records.generation import (
    AnswerMeta,
    AnswerRecord,
    PairRecord,
    PairStyle,
    QuarantinedChunk,
    RepairMeta,
    RepairRecord,
    TokenCount,
)
from insurance_rag.generation.next_call import Call
from insurance_rag.generation.prompt import ChunkRequest
from insurance_rag.generation.repair import PairCheck, find_faults
from insurance_rag.generation.teachers.base import Pair, TeacherAnswer
from insurance_rag.planning.generation_journal import DamagedRecordError, GenerationJournal
from insurance_rag.planning.prompt_spec import PromptSpec, repair_version
from insurance_rag.planning.question_plan import PlannedPair
from insurance_rag.planning.work_items import WorkItem
from insurance_rag.rate_limit.limiter import AnswerCounts


@dataclass(frozen=True)
class Recorded:
    """What was recorded for one answer."""

    counts: AnswerCounts
    open_items: list[WorkItem]
    """Chunks for which the answer has no usable pairs. They are not recorded."""
    damage: IncompleteError | None = None
    """The error if the first answer of a repaired chunk is damaged. Only the repairs of the others are recorded."""


def record_answers(
    journal: GenerationJournal,
    call: Call,
    answer: TeacherAnswer,
    config: GenerationConfig,
    key_id: str,
    pair_check: PairCheck | None,
) -> Recorded:
    """Record the pairs of each chunk. If `pair_check` is given, faulty and missing pairs will be requested once more.

    The tokens of the call are divided among the recorded chunks. The last chunk of a cut answer may lack pairs: it
    counts as open, unless the missing pairs can be requested as a repair. Chunks that another call has answered
    meanwhile keep that answer.

    A repair belongs to a first answer. If this is damaged on disk, the repair is lost as well, but the other chunks are
    recorded nevertheless: their answers have been paid for.
    """
    paired = [
        (item, request, pairs)
        for item, request, pairs in zip(call.items, call.request.chunks, answer.pairs, strict=True)
        if call.is_repair or journal.state(item.cache_key) not in ("answered", "repairable")
    ]
    usable = [
        (item, request, pairs)
        for item, request, pairs in paired
        if pairs and (pair_check or call.is_repair or not answer.is_cut or len(pairs) == len(request.pairs))
    ]
    recorded = {item.cache_key for item, _, _ in usable}
    tokens = _divide_tokens(answer, [(request, pairs) for _, request, pairs in usable])
    accepted = n_recorded = 0
    damage: IncompleteError | None = None
    for (item, request, pairs), used in zip(usable, tokens, strict=True):
        faults = find_faults(pair_check, request.checked_chunk, pairs, request.pairs) if pair_check else []
        good = len(pairs) - sum(fault.pair is not None for fault in faults)
        if call.is_repair:
            try:
                first = journal.answer(item.cache_key)
            except DamagedRecordError as e:
                damage = e
                continue
            repaired = _pairs(pairs, request.pairs)
            repair = RepairRecord(pairs=repaired, usage=used, meta=_repair_meta(key_id), accepted=good)
            record = first.model_copy(update={"repair": repair})
        else:
            meta = _answer_meta(config, answer, key_id, len(call.items))
            record = AnswerRecord(
                chunk_id=item.chunk_id, pairs=_pairs(pairs, request.pairs), usage=used, meta=meta, faults=faults
            )
        journal.append(item.cache_key, record)
        accepted += good
        n_recorded += 1
    counts = AnswerCounts(
        answer.tokens_in, answer.tokens_out, n_recorded, accepted, model=answer.model, asked_model=config.model
    )
    return Recorded(counts, [item for item, _, _ in paired if item.cache_key not in recorded], damage)


def record_failed_repair(journal: GenerationJournal, item: WorkItem, error: PipelineError, key_id: str) -> None:
    """Record that the faulty pairs of a chunk cannot be repaired."""
    repair = RepairRecord(pairs=[], usage=TokenCount(), meta=_repair_meta(key_id), failed=str(error))
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


def _pairs(pairs: Sequence[Pair], planned: Sequence[PlannedPair]) -> list[PairRecord]:
    """Return the records of pairs, each with the style of the first planned pair of its type that is left."""
    styles = list(planned)
    records = []
    for pair in pairs:
        style = next((p for p in styles if p.type == pair.type), None)
        if style:
            styles.remove(style)
        planned_style = PairStyle(style.persona, style.register, style.difficulty, style.form) if style else PairStyle()
        records.append(
            PairRecord(
                type=pair.type,
                question=pair.question,
                answer=pair.answer,
                evidence=pair.evidence,
                style=planned_style,
            )
        )
    return records


def _divide_tokens(answer: TeacherAnswer, parts: Sequence[tuple[ChunkRequest, list[Pair]]]) -> list[TokenCount]:
    """Divide the tokens of a call in proportion to the lengths of the chunks and of their pairs. The sums are exact."""
    read = _divide(answer.tokens_in, [len(request.chunk.text) for request, _ in parts])
    written = _divide(answer.tokens_out, [sum(len(p.question) + len(p.answer) for p in pairs) for _, pairs in parts])
    return [TokenCount(tokens_in=n_in, tokens_out=n_out) for n_in, n_out in zip(read, written, strict=True)]


def _divide(total: int, weights: Sequence[int]) -> list[int]:
    sums = [sum(weights[:n]) for n in range(len(weights) + 1)]
    bounds = [round(total * part / max(1, sums[-1])) for part in sums]
    return [end - start for start, end in pairwise(bounds)]


def _answer_meta(config: GenerationConfig, answer: TeacherAnswer, key_id: str, n_chunks: int) -> AnswerMeta:
    spec = PromptSpec.from_config(config)
    return AnswerMeta(
        teacher=spec.teacher,
        model=spec.model,
        model_version=answer.model,
        prompt_version=spec.prompt_version,
        key_id=key_id,
        at=_utc_now(),
        chunks_per_call=n_chunks,
    )


def _repair_meta(key_id: str) -> RepairMeta:
    return RepairMeta(repair_version=repair_version(), key_id=key_id, at=_utc_now())


def _utc_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
