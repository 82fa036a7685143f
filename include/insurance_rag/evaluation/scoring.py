"""Score one generated answer: post-process it, check it, and look for the numbers that it must state."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from insurance_rag.config import DecodingConfig
from insurance_rag.core.records import Correctness, Question, ScoredAnswer
from insurance_rag.evaluation.checks import ShownChunk, check_answer
from insurance_rag.evaluation.correctness import Expected, assess
from insurance_rag.evaluation.postprocess import postprocess
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest
from insurance_rag.evaluation.samples import EvalSample
from insurance_rag.korean import quantities, remove_whitespace


class Verification(NamedTuple):
    """What a verifier found in one answer."""

    unsupported: tuple[str, ...] = ()
    """Sentences with a score below the threshold."""
    lowest_score: float | None = None
    """Lowest score of a sentence; None if no sentence has a score."""


NOT_VERIFIED = Verification()


def score(
    sample: EvalSample,
    request: GenerationRequest,
    generated: GeneratedAnswer,
    decoding: DecodingConfig,
    min_support: float,
    verify: Callable[[EvalSample, str], Verification] | None = None,
    *,
    verifier_counts: bool = False,
) -> ScoredAnswer:
    """Return the scored answer. See `CheckedAnswer` for `min_support`.

    `verify` returns what a verifier found in the answer after post-processing. With `verifier_counts`, an answer that
    it flags is a hallucination.

    If the retriever missed the gold chunks, it is unknown whether the context answers the question. In that case,
    the model is penalized neither for refusing nor for answering.
    """
    question, context = sample.question, sample.context
    answer, stop_cut = postprocess(generated.text, context, decoding)
    answerable = (sample.gold_in_context or None) if question.answerable else False
    chunks = [ShownChunk(chunk.text, chunk.products) for chunk in sample.chunks]
    found = verify(sample, answer) if verify else NOT_VERIFIED
    verdict = check_answer(answer, context, question.question, answerable, min_support, chunks, found.unsupported)
    unchanged = answer == generated.text
    raw = (
        verdict
        if unchanged
        else check_answer(generated.text, context, question.question, answerable, min_support, chunks)
    )
    expected = Expected.of(question, sample.gold_texts, context)
    correctness = assess(answer, expected)
    return ScoredAnswer(
        question_id=question.question_id,
        model=request.model,
        question=question.question,
        type=question.type,
        answerable=question.answerable,
        chunk_ids=[chunk.chunk_id for chunk in sample.chunks],
        context=context,
        raw_answer=generated.text,
        answer=answer,
        stop_cut=stop_cut,
        new_tokens=generated.new_tokens,
        seconds=generated.seconds,
        key=request.key,
        context_source=sample.source,
        prompt_format=request.prompt_format,
        product=sample.product,
        cluster=sample.cluster,
        document=sample.document,
        reference_answer=question.reference_answer,
        gold_chunk_ids=question.gold_chunk_ids,
        gold_in_context=sample.gold_in_context,
        hallucinated=verdict.hallucinated or (verifier_counts and bool(found.unsupported)),
        findings=verdict.findings,
        refusal=verdict.refusal,
        raw_hallucinated=raw.hallucinated,
        raw_findings=raw.findings,
        number_accuracy=_states_required_numbers(answer, question, correctness) if answerable else None,
        correctness=correctness,
        raw_correctness=correctness if unchanged else assess(generated.text, expected),
        verifier_score=found.lowest_score,
    )


_NUMBERS_WITHOUT_MEANING = {"focus", "contradicting_number"}
"""Problems that make stated numbers meaningless: the answer copies whole chunks, or also states other values."""


def _states_required_numbers(answer: str, question: Question, correctness: Correctness) -> bool | None:
    """Return whether the answer states every required number, or None if the question requires no numbers.

    An answer that copies whole chunks, or that also states other values of the same kind, does not count.
    """
    if not question.required_numbers:
        return None
    if any(problem.kind in _NUMBERS_WITHOUT_MEANING for problem in correctness.problems):
        return False
    stated = {quantity.key for quantity in quantities(answer)}
    return all(_states(answer, stated, number) for number in question.required_numbers)


def _states(answer: str, stated: set[tuple[float, str]], number: str) -> bool:
    """Return whether the answer states `number`, either as a quantity ("3천만원" equals "30,000,000원") or as text.

    `stated` holds the keys of all quantities in the answer.
    """
    required = {quantity.key for quantity in quantities(number)}
    return required <= stated if required else remove_whitespace(number) in remove_whitespace(answer)
