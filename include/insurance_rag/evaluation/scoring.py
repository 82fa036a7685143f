"""Score one generated answer: post-process it, check it, and look for the numbers that it must state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from insurance_rag.config import DecodingConfig
from insurance_rag.core.records import Correctness, Question, ScoredAnswer, Verdict
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


class _Assessment(NamedTuple):
    """What the checks found in a text, and whether it is correct."""

    verdict: Verdict
    correctness: Correctness


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
    question = sample.question
    answer, stop_cut = postprocess(generated.text, sample.context, decoding)
    found = verify(sample, answer) if verify else NOT_VERIFIED
    final = _assess(answer, sample, min_support, found.unsupported)
    raw = final if answer == generated.text else _assess(generated.text, sample, min_support)
    return ScoredAnswer(
        question_id=question.question_id,
        model=request.model,
        question=question.question,
        type=question.type,
        answerable=question.answerable,
        chunk_ids=[chunk.chunk_id for chunk in sample.chunks],
        context=sample.context,
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
        hallucinated=final.verdict.hallucinated or (verifier_counts and bool(found.unsupported)),
        findings=final.verdict.findings,
        refusal=final.verdict.refusal,
        raw_hallucinated=raw.verdict.hallucinated,
        raw_findings=raw.verdict.findings,
        number_accuracy=_states_required_numbers(answer, question, final.correctness) if _answerable(sample) else None,
        correctness=final.correctness,
        raw_correctness=raw.correctness,
        verifier_score=found.lowest_score,
    )


def _assess(text: str, sample: EvalSample, min_support: float, unsupported: Sequence[str] = ()) -> _Assessment:
    """Check a text, and find out whether it is correct. `unsupported` are the sentences that a verifier flagged."""
    chunks = [ShownChunk(chunk.text, chunk.products) for chunk in sample.chunks]
    asked, answerable = sample.question.question, _answerable(sample)
    verdict = check_answer(text, sample.context, asked, answerable, min_support, chunks, unsupported)
    return _Assessment(verdict, assess(text, Expected.of(sample.question, sample.gold_texts, sample.context)))


def _answerable(sample: EvalSample) -> bool | None:
    """Return whether the context answers the question. None if the retriever missed the gold chunks."""
    return (sample.gold_in_context or None) if sample.question.answerable else False


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
