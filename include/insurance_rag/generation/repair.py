"""Find the pairs in an answer that validation would drop, and build the request that asks the teacher to repair them.

The caller of `generate_run` or `generate_shard` passes a function `pair_check` that finds these pairs. Without this
function, nothing is repaired. A repair request asks only for the faulty pairs, and covers several chunks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from insurance_rag.core.records import Chunk
from insurance_rag.core.records.generation import AnswerRecord, FaultRecord, PairRecord
from insurance_rag.generation.prompt import ChunkRequest
from insurance_rag.generation.teachers.base import Pair
from insurance_rag.planning.question_plan import PlannedPair

PairCheck = Callable[[Chunk, Sequence[Pair]], list[tuple[str, str] | None]]
"""Checks the pairs generated for a chunk. The result has one item per pair: (rule name, faulty text) if the pair has a
fault that a repair could fix, else None."""

MAX_SPAN_CHARACTERS = 300
"""Maximum length of each question, answer or faulty text that a repair request quotes."""

FAULT_TEXTS = {
    "required_fields": "질문이나 답변이 빠졌습니다",
    "too_short": "답변이 너무 짧습니다",
    "cut_off": "답변이 문장 끝까지 쓰이지 않고 끊겼습니다",
    "open_ended": "답변이 완전한 문장으로 끝나지 않습니다",
    "evasive": "조항에 답이 있는 질문인데 답을 피했거나, 조항에 답이 없는 것을 물었습니다",
    "no_content": "답변이 예/아니요뿐이고 내용이 없습니다",
    "missed_refusal": "조항에 답이 없는 질문이어야 하는데 답변을 지어냈습니다",
    "preamble": "답변이 머리말이나 '답변:' 같은 꼬리표로 시작합니다",
    "prompt_echo": "답변에 지시문이나 질문이 그대로 들어 있습니다",
    "foreign_tail": "조항과 관계없는 외국어나 광고 문구가 들어 있습니다",
    "repetition": "같은 말을 되풀이합니다",
    "not_korean": "한국어로 쓰이지 않았습니다",
    "not_standalone": "질문이 조항을 가리켜, 조항을 보지 못한 사람은 알아들을 수 없습니다",
    "no_product": "질문에 상품 이름이 없어 어느 보험인지 알 수 없습니다",
    "unrelated": "답변이 질문에서 물은 것과 다른 내용입니다",
    "unsupported_article": "답변에 적힌 조 번호가 조항에 없거나, 조항이 언급만 한 다른 조입니다",
    "unsupported_number": "답변에 적힌 숫자가 조항에 없습니다",
    "no_evidence": "답변의 근거가 없거나 너무 짧습니다",
    "evidence": "근거로 적은 문장 번호가 조항에 없거나 답변과 맞지 않습니다",
}
"""Maps the name of a validation rule to the text that describes the fault in a repair request."""


def find_faults(
    pair_check: PairCheck, chunk: Chunk, pairs: Sequence[Pair], planned: Sequence[PlannedPair]
) -> list[FaultRecord]:
    """Return the faults of one answer: first those of its pairs, in order, then one per missing pair."""
    checked = zip(pairs, pair_check(chunk, pairs), strict=True)
    found = [
        FaultRecord(type=pair.type, reason=problem[0], span=problem[1], pair=n)
        for n, (pair, problem) in enumerate(checked)
        if problem
    ]
    missing = Counter(pair.type for pair in planned) - Counter(pair.type for pair in pairs)
    return found + [FaultRecord(type=kind, reason="required_fields", span="") for kind in missing.elements()]


def repair_request(first: ChunkRequest, answer: AnswerRecord) -> ChunkRequest:
    """Return the request to repair the faults in the `answer` to the request `first`: one pair per fault.

    A new pair has the planned style of the pair that it replaces. The description of a missing pair contains this
    style. A faulty pair is quoted instead.
    """
    missing = list(first.pairs)
    for pair in answer.pairs:
        if match := next((p for p in missing if p.type == pair.type), None):
            missing.remove(match)
    pairs = []
    for fault in answer.faults:
        if fault.pair is not None:
            style = vars(answer.pairs[fault.pair].style)
            planned = PlannedPair(fault.type, **style)
        elif planned_before := next((p for p in missing if p.type == fault.type), None):
            missing.remove(planned_before)
            planned = planned_before
        else:
            planned = PlannedPair(fault.type)
        pairs.append(replace(planned, note=_describe(fault, answer.pairs, planned.note)))
    return ChunkRequest(first.chunk, tuple(pairs), first.other)


def replacements(answer: AnswerRecord) -> list[tuple[PairRecord, FaultRecord]]:
    """Return (new pair, repaired fault) for every new pair that replaces a faulty or missing pair.

    Each new pair is matched with the first unmatched fault of its question type. Surplus new pairs are ignored.
    """
    assert answer.repair is not None
    open_faults = list(answer.faults)
    found = []
    for pair in answer.repair.pairs:
        if fault := next((fault for fault in open_faults if fault.type == pair.type), None):
            open_faults.remove(fault)
            found.append((pair, fault))
    return found


def _describe(fault: FaultRecord, pairs: Sequence[PairRecord], note: str) -> str:
    what = FAULT_TEXTS.get(fault.reason, "규칙에 맞지 않습니다")
    if fault.pair is None:
        return f"{what}. {note}".strip()
    pair = pairs[fault.pair]
    lines = [f"{what}: '{_shorten(fault.span)}'", f"질문: {_shorten(pair.question)}", f"답변: {_shorten(pair.answer)}"]
    return "\n".join(lines)


def _shorten(text: str) -> str:
    """Return `text` truncated and on one line, so that nothing in a faulty answer looks like a prompt heading."""
    return " ".join(text.split())[:MAX_SPAN_CHARACTERS]
