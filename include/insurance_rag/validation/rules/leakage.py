"""Rules that keep evaluation questions and their gold chunks out of the training data."""

from __future__ import annotations

from functools import lru_cache

from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.korean import remove_whitespace
from insurance_rag.validation.row import Row
from insurance_rag.validation.rules.registry import RuleContext, rule
from insurance_rag.validation.similar_texts import SimilarTexts

NGRAM = 3


@rule("leak", title="Overlaps with the evaluation", title_ko="평가 문서와 중복", repairable=False)
def leak(row: Row, context: RuleContext) -> str | None:
    """The row asks an evaluation question, or its chunk is almost identical to one on the other side of the split
    between training and evaluation, or it needs chunks from both sides."""
    if not context.questions:
        return None
    held_out = row.chunk_id in context.held_out
    if row.chunk_id in context.leaking:
        return f"{row.chunk_id} repeats a {'training chunk' if held_out else 'gold chunk of the evaluation'}"
    other = str(row.meta.get(OTHER_CHUNK_ID, ""))
    if other and (other in context.leaking or (other in context.held_out) != held_out):
        return f"needs {other}, which training and evaluation must not share"
    question = remove_whitespace(row.instruction)
    if question in context.questions:
        return row.instruction
    similar = [] if held_out else _index(context.questions, context.config.leak_similarity).find(question)
    return row.instruction if similar else None


@lru_cache(maxsize=4)
def _index(questions: frozenset[str], min_similarity: float) -> SimilarTexts:
    return SimilarTexts(sorted(questions), NGRAM, min_similarity)
