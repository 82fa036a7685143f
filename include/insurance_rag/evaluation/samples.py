"""What each question is asked with: the clauses the retriever found, and the right ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from insurance_rag.config import EvaluationConfig
from insurance_rag.core.records import Chunk, Question
from insurance_rag.evaluation.requests import fit_clauses
from insurance_rag.evaluation.scoring import ContextSource
from insurance_rag.retrieval import Retriever


@dataclass(frozen=True)
class EvalSample:
    """One question with the clauses it is asked with."""

    question: Question
    source: ContextSource
    shown: list[tuple[str, str]]
    gold_in_context: bool | None
    product: str


def make_samples(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    retriever: Retriever,
    config: EvaluationConfig,
    room: int,
    count_tokens: Callable[[str], int],
) -> Iterator[EvalSample]:
    """Each question with the retrieved clauses, and with the gold ones; a question without any keeps the retrieved."""
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    for question in questions:
        filters = question.filters if config.retrieval.use_filters else None
        hits = retriever.search(question.question, config.retrieval.clauses, filters)
        product = _product(question, by_id)
        for source in config.contexts:
            if source == "gold" and question.gold_chunk_ids:
                shown = [(i, by_id[i].text) for i in question.gold_chunk_ids]
            else:
                shown = [(hit.chunk_id, hit.text) for hit in hits]
            texts = fit_clauses([text for _, text in shown], question.question, room, count_tokens)
            # A clause that was cut to fit may have lost the answer: whoever then refuses is not at fault.
            whole = {i for (i, text), kept in zip(shown, texts, strict=False) if kept == text}
            shown = [(i, text) for (i, _), text in zip(shown, texts, strict=False)]
            found = (
                whole.issuperset(question.gold_chunk_ids)
                if source == "gold"
                else any(h.is_any_of(question.gold_chunk_ids) for h in hits if h.chunk_id in whole)
            )
            yield EvalSample(question, source, shown, found if question.gold_chunk_ids else None, product)


def _product(question: Question, by_id: Mapping[str, Chunk]) -> str:
    """Company and kind of policy, from the gold clause or the question's filters."""
    for chunk_id in question.gold_chunk_ids:
        metadata = by_id[chunk_id].metadata
        return f"{metadata.company} · {metadata.policy_type}"
    return " · ".join(question.filters.values()) or "-"
