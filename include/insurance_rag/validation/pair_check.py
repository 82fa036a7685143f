"""The row rules as a judge of fresh pairs: what the teacher can mend is worth asking for once more."""

from __future__ import annotations

from collections.abc import Sequence

from insurance_rag.config import ValidationConfig
from insurance_rag.core.records import Chunk
from insurance_rag.generation.repair import Judge
from insurance_rag.generation.teachers.base import Pair
from insurance_rag.korean.text import clean
from insurance_rag.validation.rows import parse_row
from insurance_rag.validation.rules import REPAIRABLE, RULES, Clause, Context


def row_judge(config: ValidationConfig | None = None) -> Judge:
    """A judge that says of each pair the first of the configured rules that drops it, if another try can mend that."""
    config = config or ValidationConfig()
    names = [name for name in config.rules if name in REPAIRABLE]

    def judge(chunk: Chunk, pairs: Sequence[Pair]) -> list[tuple[str, str] | None]:
        context = Context(config, {chunk.chunk_id: Clause(clean(chunk.text))})
        return [_fault(chunk, pair, names, context) for pair in pairs]

    return judge


def _fault(chunk: Chunk, pair: Pair, names: Sequence[str], context: Context) -> tuple[str, str] | None:
    fields = {"type": pair.type, "instruction": pair.question, "output": pair.answer, "evidence": pair.evidence}
    row = parse_row({"chunk_id": chunk.chunk_id, **fields}, context.config.max_characters)
    if row.problem:
        return None  # `malformed`: too long or no Unicode, which is no slip of one answer
    for name in names:
        if (span := RULES[name](row, context)) is not None:
            return name, span
    return None
