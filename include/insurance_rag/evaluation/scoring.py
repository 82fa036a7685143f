"""One scored row for each question, model and context: the answer, what the checks say, whose fault it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from insurance_rag.config import DecodingConfig
from insurance_rag.core.records import Answer, Finding, Question
from insurance_rag.evaluation.checks import check_answer
from insurance_rag.evaluation.postprocess import postprocess
from insurance_rag.evaluation.requests import Reply
from insurance_rag.korean import quantities, squeeze

ContextSource = Literal["retrieved", "gold"]


class ScoredAnswer(Answer):
    """A row of answers.jsonl. The verdict is about the answer as shown; `raw_` about the text as generated."""

    key: str
    context_source: ContextSource
    product: str
    reference_answer: str | None
    gold_chunk_ids: list[str]
    gold_in_context: bool | None
    """Whether the retriever put a gold clause before the model; None where the question has none."""
    hallucinated: bool
    findings: list[Finding]
    refusal: Literal["none", "partial", "full"]
    raw_hallucinated: bool
    raw_findings: list[Finding]
    number_accuracy: bool | None
    """Whether every required number is in the answer; None where none is required or the gold clause was missing."""


def score(
    question: Question,
    model: str,
    source: ContextSource,
    shown: Sequence[tuple[str, str]],
    gold_in_context: bool | None,
    product: str,
    key: str,
    reply: Reply,
    decoding: DecodingConfig,
    min_support: float,
) -> ScoredAnswer:
    """Cut and check one reply. `shown` are the (chunk_id, text) of the prompt.

    Where the retriever missed, the model is blamed neither for refusing nor for answering: whether that context answers
    the question is not known.
    """
    context = "\n\n".join(text for _, text in shown)
    answer, stop_cut = postprocess(reply.text, context, decoding)
    answerable = (gold_in_context or None) if question.answerable else False
    verdict = check_answer(answer, context, question.question, answerable, min_support)
    same = answer == reply.text
    raw = verdict if same else check_answer(reply.text, context, question.question, answerable, min_support)
    return ScoredAnswer(
        question_id=question.question_id,
        model=model,
        question=question.question,
        type=question.type,
        answerable=question.answerable,
        chunk_ids=[chunk_id for chunk_id, _ in shown],
        context=context,
        raw_answer=reply.text,
        answer=answer,
        stop_cut=stop_cut,
        new_tokens=reply.new_tokens,
        seconds=reply.seconds,
        key=key,
        context_source=source,
        product=product,
        reference_answer=question.reference_answer,
        gold_chunk_ids=question.gold_chunk_ids,
        gold_in_context=gold_in_context,
        hallucinated=verdict.hallucinated,
        findings=verdict.findings,
        refusal=verdict.refusal,
        raw_hallucinated=raw.hallucinated,
        raw_findings=raw.findings,
        number_accuracy=_numbers_right(answer, question) if answerable else None,
    )


def _numbers_right(answer: str, question: Question) -> bool | None:
    if not question.required_numbers:
        return None
    stated = {quantity.key for quantity in quantities(answer)}
    return all(_states(answer, stated, number) for number in question.required_numbers)


def _states(answer: str, stated: set[tuple[float, str]], number: str) -> bool:
    wanted = {quantity.key for quantity in quantities(number)}
    return wanted <= stated if wanted else squeeze(number) in squeeze(answer)
