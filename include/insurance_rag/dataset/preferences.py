"""Makes preference pairs: a retrieval-style prompt with its right answer, and an answer that is worse.

The kinds of worse answers:

- `false_refusal`: a refusal of an answerable question.
- `hedge`: a right answer that adds a refusal, or a refusal that adds a sentence of a chunk.
- `missed_refusal`: an answer although the context has none. It is the original answer of the row that the refusal was
  made from, or a sentence of a chunk.
- `number`, `negation`, `roles`, `comparator`, `article`: the right answer with a fault (`dataset/faulty_answers`).
- `prompt_echo`: the right answer with a part of the prompt before or after it.
- `repair`: the teacher's first answer, which validation rejected, to a question whose repaired answer it accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import cast

from insurance_rag.config import PreferenceConfig
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.prompt_templates import ANSWER_HEADING, RAG_INSTRUCTION
from insurance_rag.core.records import REFUSAL, Chunk, FormattedRow
from insurance_rag.core.records.dataset import PreferenceKind, PreferenceRow
from insurance_rag.dataset.faulty_answers import RightAnswer, insert_fault
from insurance_rag.dataset.kind_balance import weighted_order
from insurance_rag.dataset.policy_statements import policy_statement
from insurance_rag.korean import refusal, remove_whitespace, sentences

FAULT_KINDS: Mapping[PreferenceKind, tuple[str, ...]] = {
    "number": ("tier_swapped", "number_swapped", "number_invented"),
    "negation": ("negated",),
    "roles": ("roles_swapped",),
    "comparator": ("comparator_flipped",),
    "article": ("other_article",),
}
"""Kinds of preference pairs -> faults of the worse answer."""
_HEDGES = (
    "그 밖의 사항은 약관에 해당 내용이 없습니다.",
    "다만, 자세한 내용은 약관에 명시되어 있지 않습니다.",
    "그러나 이 질문에 대한 정확한 내용은 약관에서 확인할 수 없습니다.",
    "이 외의 내용은 제공된 약관에 없으므로 답변드릴 수 없습니다.",
)


@dataclass(frozen=True)
class PairSource:
    """A training row, and what worse answers to it are made from."""

    row: FormattedRow
    gold: tuple[str, ...]
    """Texts of the chunks that the right answer is from."""
    shown: tuple[Chunk, ...]
    """The chunks in the prompt."""
    original: str = ""
    """The answer of the row that a refusal was made from."""
    rejected: Sequence[str] = ()
    """Answers of the teacher to the same question that validation rejected."""

    @cached_property
    def right_answer(self) -> RightAnswer:
        """The right answer, for inserting faults."""
        others = tuple(chunk.text for chunk in self.shown if chunk.text not in self.gold)
        return RightAnswer(self.row["instruction"], self.row["completion"], self.gold, others)

    def rng(self, purpose: str, seed: int) -> Random:
        """Return random numbers that depend only on the row, the purpose and the seed."""
        row = self.row
        return Random(sha256_text(str(seed), purpose, row["chunk_id"], row["instruction"], row["completion"]))


WorseAnswer = Callable[[PairSource, Random], str | None]
"""Function that returns a worse answer, or None if there is none of its kind."""


def preference_rows(
    source: PairSource, weights: Mapping[str, float], config: PreferenceConfig, seed: int
) -> list[PreferenceRow]:
    """Return one or two pairs of different kinds, or none. The kinds are chosen with `weights`."""
    rng = source.rng("preference", seed)
    wanted = 2 if rng.random() < config.second_share else 1
    found: list[PreferenceRow] = []
    for name in weighted_order(weights, rng):
        kind = cast(PreferenceKind, name)
        worse = worse_answer(kind, source, seed)
        if worse is not None:
            found.append(_pair(source.row, kind, worse))
        if len(found) == wanted:
            break
    return found


def possible_kinds(source: PairSource, seed: int) -> frozenset[str]:
    """Return the kinds of pairs that can be made from a row."""
    return frozenset(kind for kind in WORSE_ANSWERS if worse_answer(kind, source, seed) is not None)


def worse_answer(kind: PreferenceKind, source: PairSource, seed: int) -> str | None:
    """Return a worse answer of this kind, or None if there is none.

    A worse answer is not equal to the right one, and does not refuse a question that is to be refused.
    """
    worse = WORSE_ANSWERS[kind](source, source.rng(kind, seed))
    if worse is None or _letters(worse) == _letters(source.row["completion"]):
        return None
    return worse if source.row["answerable"] or kind == "prompt_echo" or refusal(worse) != "full" else None


def _letters(text: str) -> str:
    return remove_whitespace(text).rstrip(".")


def _pair(row: FormattedRow, kind: PreferenceKind, worse: str) -> PreferenceRow:
    return {
        "prompt": row["prompt"],
        "chosen": row["completion"],
        "rejected": worse,
        "kind": kind,
        "chunk_id": row["chunk_id"],
        "type": row["type"],
        "instruction": row["instruction"],
        "input": row["input"],
        "context": row["context"],
        "evidence": row["evidence"],
        "answerable": row["answerable"],
    }


def _false_refusal(source: PairSource, rng: Random) -> str | None:
    return rng.choice((REFUSAL, f"{REFUSAL}.")) if source.row["answerable"] else None


def _hedge(source: PairSource, rng: Random) -> str | None:
    right = source.row["completion"]
    if source.row["answerable"]:
        return f"{right} {rng.choice(_HEDGES)}"
    statement = policy_statement(source.row["instruction"], source.shown)
    if statement is None:
        return None
    refused = f"{right.rstrip('.')}."
    return f"{refused} 다만, {statement}" if rng.random() < 0.5 else f"{statement} {rng.choice(_HEDGES)}"


def _missed_refusal(source: PairSource, rng: Random) -> str | None:
    if source.row["answerable"]:
        return None
    return source.original or policy_statement(source.row["instruction"], source.shown)


def _prompt_echo(source: PairSource, rng: Random) -> str | None:
    row = source.row
    right = f"{row['completion'].rstrip('.')}."
    whole = [s.text for s in sentences(row["input"]) if s.text not in right]
    first = next((text for text in whole if text.endswith("다.")), "".join(whole[:1]))
    return rng.choice(
        (
            f"[보험약관]\n{first}\n\n{right}",
            f"{first}\n{right}",
            f"질문: {row['instruction']}\n{right}",
            f"{right}\n\n질문: {row['instruction']}\n{ANSWER_HEADING}{right}",
            f"{right}\n### 지시\n{sentences(RAG_INSTRUCTION)[0].text}",
        )
    )


def _repair(source: PairSource, rng: Random) -> str | None:
    return rng.choice(source.rejected) if source.rejected else None


def _faulty(kind: PreferenceKind) -> WorseAnswer:
    def make(source: PairSource, rng: Random) -> str | None:
        if not source.row["answerable"]:
            return None
        for fault in rng.sample(FAULT_KINDS[kind], len(FAULT_KINDS[kind])):
            if (faulty := insert_fault(fault, source.right_answer, rng)) is not None:
                return faulty.text
        return None

    return make


WORSE_ANSWERS: Mapping[PreferenceKind, WorseAnswer] = {
    "false_refusal": _false_refusal,
    "hedge": _hedge,
    "missed_refusal": _missed_refusal,
    **{kind: _faulty(kind) for kind in FAULT_KINDS},
    "prompt_echo": _prompt_echo,
    "repair": _repair,
}
