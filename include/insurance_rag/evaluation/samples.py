"""Evaluation samples. A sample is a question with a context: either the retrieved chunks or the gold chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from insurance_rag.chunks.headings import chunk_header
from insurance_rag.config import EvaluationConfig
from insurance_rag.core.prompt_templates import CHUNK_SEPARATOR, ContextChunkText
from insurance_rag.core.records import Chunk, ContextSource, Question
from insurance_rag.evaluation.contexts import TokenCounter, fit_chunks
from insurance_rag.evaluation.requests import DEFAULT_FORMAT
from insurance_rag.retrieval import Hit, Retriever


class ContextChunk(NamedTuple):
    """A chunk as it appears in the prompt. Its text may be truncated to fit."""

    chunk_id: str
    text: str
    products: tuple[str, ...] = ()
    """Products whose policies contain the chunk: the first part of the breadcrumbs. Several may share a text."""
    header: str = ""
    """Product and section, for prompt formats that show them."""


@dataclass(frozen=True)
class EvalSample:
    """One question with the chunks in its prompt."""

    question: Question
    source: ContextSource
    chunks: list[ContextChunk]
    gold_in_context: bool | None
    """Whether the prompt contains the gold chunks untruncated; None if the question has no gold chunks.

    With the source `gold`, the prompt must contain all of the question's gold chunks. With the source `retrieved`, one
    is enough.
    """
    gold_texts: Sequence[str]
    """Whole texts of the question's gold chunks, whether or not they are in the prompt."""
    product: str
    document: str
    """Document of the first gold chunk. Without gold chunks, the question id."""

    @property
    def cluster(self) -> str:
        """Name of the question's cluster. Questions with the same gold chunks form a cluster."""
        return "+".join(sorted(self.question.gold_chunk_ids)) or self.question.question_id

    @property
    def context(self) -> str:
        """Texts of all chunks, joined by a separator."""
        return CHUNK_SEPARATOR.join(chunk.text for chunk in self.chunks)

    @property
    def shown(self) -> list[ContextChunkText]:
        """The chunks for a prompt."""
        return [ContextChunkText(chunk.text, chunk.header) for chunk in self.chunks]


def make_samples(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    retriever: Retriever,
    config: EvaluationConfig,
    budget: int,
    count_tokens: TokenCounter,
    formats: Sequence[str] = (DEFAULT_FORMAT,),
) -> Iterator[EvalSample]:
    """Yield one sample per question and context source, with chunks that fit into a prompt of `budget` tokens.

    `formats` are the prompt formats that are used. For a question without gold chunks, both sources give the retrieved
    chunks.
    """
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    for question in questions:
        filters = question.filters if config.retrieval.use_filters else None
        hits = retriever.search(question.question, config.retrieval.top_k, filters)
        for source in config.contexts:
            if source == "gold" and question.gold_chunk_ids:
                wanted = [_context_chunk(by_id[i].text, [i], by_id) for i in question.gold_chunk_ids]
            else:
                wanted = [_context_chunk(hit.text, [hit.chunk_id, *hit.duplicates], by_id) for hit in hits]
            texts = [ContextChunkText(chunk.text, chunk.header) for chunk in wanted]
            fitting = fit_chunks(texts, question.question, budget, count_tokens, formats)
            shown = [chunk._replace(text=kept.text) for chunk, kept in zip(wanted, fitting, strict=False)]
            # A truncated chunk does not count as a gold chunk. The cut may have removed the answer, so a refusal may be
            # right.
            whole = {chunk.chunk_id for chunk, kept in zip(wanted, shown, strict=False) if kept == chunk}
            gold = _gold_in_context(question, source, hits, whole)
            yield make_sample(question, source, shown, gold, by_id)


def make_sample(
    question: Question,
    source: ContextSource,
    shown: list[ContextChunk],
    gold_in_context: bool | None,
    by_id: Mapping[str, Chunk],
) -> EvalSample:
    """Return the sample for a question with the chunks `shown`. `by_id` contains the question's gold chunks."""
    gold_texts = [by_id[i].text for i in question.gold_chunk_ids]
    product, document = _product(question, by_id), _document(question, by_id)
    return EvalSample(question, source, shown, gold_in_context, gold_texts, product, document)


def _gold_in_context(question: Question, source: ContextSource, hits: Sequence[Hit], whole: set[str]) -> bool | None:
    """Return whether the prompt has all gold chunks (source `gold`) or at least one of them (source `retrieved`).

    A retrieved duplicate of a gold chunk counts as that chunk. `whole` holds the ids of the chunks that are not
    truncated. The result is None if the question has no gold chunks.
    """
    if not question.gold_chunk_ids:
        return None
    if source == "gold":
        return whole.issuperset(question.gold_chunk_ids)
    return any(hit.is_any_of(question.gold_chunk_ids) for hit in hits if hit.chunk_id in whole)


def _document(question: Question, by_id: Mapping[str, Chunk]) -> str:
    gold = question.gold_chunk_ids
    return by_id[gold[0]].metadata.source if gold else question.question_id


def _context_chunk(text: str, chunk_ids: Sequence[str], by_id: Mapping[str, Chunk]) -> ContextChunk:
    """Return a chunk for the prompt. `chunk_ids` are its id and the ids of other chunks with the same text."""
    chunk, *same_text = [by_id[i] for i in chunk_ids if i in by_id]
    return ContextChunk(chunk_ids[0], text, _products(chunk_ids, by_id), chunk_header(chunk, same_text))


def _products(chunk_ids: Sequence[str], by_id: Mapping[str, Chunk]) -> tuple[str, ...]:
    found = (by_id[i].metadata.breadcrumbs.split(">")[0].strip() for i in chunk_ids if i in by_id)
    return tuple(dict.fromkeys(name for name in found if name))


def _product(question: Question, by_id: Mapping[str, Chunk]) -> str:
    """Return the company and policy type of the first gold chunk. Without gold chunks, return the filters."""
    for chunk_id in question.gold_chunk_ids[:1]:
        metadata = by_id[chunk_id].metadata
        return f"{metadata.company} · {metadata.policy_type}"
    return " · ".join(question.filters.values()) or "-"
