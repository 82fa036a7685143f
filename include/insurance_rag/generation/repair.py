"""Asking again, once, for the pairs that validation would drop: the faults, and the correction that names them.

Whoever starts the generation hands in the judge; without one nothing is asked again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk, QuestionType
from insurance_rag.core.records.generation import AnswerRecord, FaultRecord, PairRecord
from insurance_rag.generation.prompt import fill
from insurance_rag.generation.teachers.base import Correction, Pair
from insurance_rag.planning.prompt_spec import CORRECTION, PROMPTS, PromptSpec

#: (reason, span at fault) of each pair of the clause; None where there is nothing to mend.
Judge = Callable[[Chunk, Sequence[Pair]], list[tuple[str, str] | None]]

SPAN_CHARACTERS = 300  # of a faulty question, answer or span in the note

#: What the teacher is told, by the rule's name.
FAULTS = {
    "required_fields": "질문이나 답변이 빠졌습니다",
    "too_short": "답변이 너무 짧습니다",
    "cut_off": "답변이 문장 끝까지 쓰이지 않고 끊겼습니다",
    "open_ended": "답변이 완전한 문장으로 끝나지 않습니다",
    "evasive": "조항에 답이 있는 질문인데 답을 피했거나, 조항에 답이 없는 것을 물었습니다",
    "missed_refusal": "조항에 답이 없는 질문이어야 하는데 답변을 지어냈습니다",
    "prompt_echo": "답변에 지시문이나 질문이 그대로 들어 있습니다",
    "foreign_tail": "조항과 관계없는 외국어나 광고 문구가 들어 있습니다",
    "repetition": "같은 말을 되풀이합니다",
    "not_korean": "한국어로 쓰이지 않았습니다",
    "not_standalone": "질문이 조항을 가리켜, 조항을 보지 못한 사람은 알아들을 수 없습니다",
    "unsupported_article": "답변에 적힌 조 번호가 조항에 없습니다",
    "unsupported_number": "답변에 적힌 숫자가 조항에 없습니다",
    "evidence": "evidence가 조항을 그대로 옮긴 구절이 아닙니다",
}


@dataclass(frozen=True)
class Fault:
    """`pair` is the place of the faulty pair in its answer; None where the answer has no pair of this type."""

    type: QuestionType
    reason: str
    span: str
    pair: int | None = None


def find_faults(judge: Judge, chunk: Chunk, pairs: Sequence[Pair], content: PromptSpec) -> list[Fault]:
    """The faults of one answer, in the order of its pairs; types that are missing altogether come last."""
    verdicts = zip(pairs, judge(chunk, pairs), strict=True)
    found = [Fault(pair.type, *fault, n) for n, (pair, fault) in enumerate(verdicts) if fault]
    there = {pair.type for pair in pairs}
    return found + [Fault(kind, "required_fields", "") for kind in content.types if kind not in there]


def correction_of(record: AnswerRecord, content: PromptSpec) -> Correction:
    """What to ask once more of a clause whose journal record lists faults."""
    faults = record.faults
    counts = Counter(fault.type for fault in faults)
    types = tuple(kind for kind in content.types if kind in counts)
    wanted = replace(content, types=types, pairs_per_type=max(counts.values()))
    lines = "\n".join(_describe(fault, record.pairs) for fault in faults)
    return Correction(wanted, fill(_template(), {"faults": lines}))


def correction_version() -> str:
    """Name and hash of the note's file, like a prompt's version."""
    return f"{CORRECTION}@{sha256_text(_template())[:10]}"


def replacements(record: AnswerRecord) -> list[tuple[PairRecord, str]]:
    """(new pair, reason of the one it stands for): of each type as many as had a fault."""
    waiting = list(record.faults)
    found = []
    for pair in record.repair.pairs if record.repair else ():
        if fault := next((fault for fault in waiting if fault.type == pair.type), None):
            waiting.remove(fault)
            found.append((pair, fault.reason))
    return found


def _template() -> str:
    return (PROMPTS / f"{CORRECTION}.txt").read_text(encoding="utf-8").strip()


def _describe(fault: FaultRecord, pairs: Sequence[PairRecord]) -> str:
    what = FAULTS.get(fault.reason, "규칙에 맞지 않습니다")
    if fault.pair is None:
        return f"- {fault.type}: {what}."
    pair = pairs[fault.pair]
    lines = [f"- {fault.type}: {what}: '{_short(fault.span)}'"]
    return "\n".join([*lines, f"  질문: {_short(pair.question)}", f"  답변: {_short(pair.answer)}"])


def _short(text: str) -> str:
    """On one line, so that nothing of a faulty answer reads as a heading of the prompt."""
    return " ".join(text.split())[:SPAN_CHARACTERS]
