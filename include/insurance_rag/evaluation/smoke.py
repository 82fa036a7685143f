"""A smoke test of a served model: it must answer the questions of an evaluation as the evaluated model did.

A server can differ from the evaluation in the adapter, the prompt, the chat template, the tokenizer or the precision.
Each of these shows in the answers. The test sends the prompts of the evaluation and scores the answers in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from insurance_rag.config import DecodingConfig
from insurance_rag.core.errors import IncompleteError, InvalidInputError, PipelineError
from insurance_rag.core.files import write_jsonl
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.metrics import question_clusters
from insurance_rag.core.prompt_templates import ContextChunkText
from insurance_rag.core.records import Chunk, ContextSource, Question, ScoredAnswer
from insurance_rag.core.records.data import Record
from insurance_rag.core.records.statistics import PairedDifference, Rate
from insurance_rag.core.stats import paired_difference, rate
from insurance_rag.evaluation.backends.server import ServerBackend
from insurance_rag.evaluation.generated import AnsweredSample, Generated, ModelAnswer, read_generated, score_generated
from insurance_rag.evaluation.metrics import METRICS
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest, build_prompt

CORRECT = "correct"
"""Metric whose rates are compared."""


class SmokeAnswer(Record):
    """One line of the file with the answers: a question with both answers."""

    question_id: str
    question: str
    evaluated: str
    """Answer in the evaluation, after post-processing."""
    served: str
    """Answer of the server, after post-processing."""
    equal: bool
    evaluated_correct: bool | None
    """Whether the answer is correct. None if this cannot be judged."""
    served_correct: bool | None


class AnswerComparison(Record):
    """How the answers of two models to the same questions compare."""

    equal: Rate
    """Answers that are equal after post-processing, letter by letter."""
    evaluated_correct: Rate
    served_correct: Rate
    """An answer that cannot be judged counts as wrong, as in the promotion gate."""
    difference: PairedDifference
    """`served_correct` minus `evaluated_correct`."""


class SmokeResult(Record):
    """How the served model's answers compare with those in the evaluation."""

    passed: bool
    server: str
    model: str
    """Name of the model in the evaluation."""
    served_as: str
    """Name of the model on the server."""
    questions: int
    equal: Rate
    """Answers that are equal after post-processing, letter by letter."""
    evaluated_correct: Rate
    served_correct: Rate
    difference: PairedDifference
    """Rate of correct answers of the server minus that of the evaluation."""
    notes: list[str]


@dataclass(frozen=True)
class ServedModel:
    """Where a model is served."""

    server: str
    """Base URL of an OpenAI-compatible server, with /v1."""
    name: str
    """Name of the model on the server."""


def smoke_test(
    evaluation: Path,
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    model: str,
    served: ServedModel,
    n: int,
    out: Path | None = None,
) -> SmokeResult:
    """Ask the served model `n` questions of the evaluation, and compare its answers with those of `model`.

    The questions are always the same ones, chosen by a hash. The test fails if the served model is correct less often
    and the whole 95 % interval of the paired difference is below 0. `out` is a file for the answers (JSON Lines).

    Raises InvalidInputError if the evaluation has no such model, its questions or chunks differ from the given ones, or
    the server does not serve the model, and IncompleteError if the server fails.
    """
    generated = read_generated(evaluation)
    asked = _choose(generated, model, n)
    decoding, notes = _server_decoding(generated.run.decoding)
    texts = _ask(asked, decoding, served)
    answered = asked.model_copy(update={"samples": [_with_text(row, texts) for row in asked.samples]})
    chosen = {row.question_id for row in asked.samples}
    own = [question for question in questions if question.question_id in chosen]
    before, after = ([*score_generated(content, own, chunks)] for content in (asked, answered))
    rows = compare_answers(before, after)
    if out is not None:
        write_jsonl(out, (row.model_dump(mode="json") for row in rows))
    if all(row.evaluated_correct is None for row in rows):
        raise InvalidInputError(f"none of the {len(rows)} answers of {model} can be judged; ask more questions (--n)")
    found = summarize_comparison(rows, before)
    return SmokeResult(
        passed=found.difference.high is None or found.difference.high >= 0,
        server=served.server,
        model=model,
        served_as=served.name,
        questions=len(rows),
        equal=found.equal,
        evaluated_correct=found.evaluated_correct,
        served_correct=found.served_correct,
        difference=found.difference,
        notes=notes,
    )


def _choose(generated: Generated, model: str, n: int) -> Generated:
    """Return `n` samples of the main results, each with the answer of `model` only."""
    run = generated.run
    source: ContextSource = run.config.contexts[0]
    formats: Mapping[str, str] = next(iter(run.prompt_formats.values()))
    if model not in formats:
        raise InvalidInputError(f"--model {model}: was not evaluated; choose one of: {', '.join(formats)}")
    rows = [
        row.model_copy(update={"answers": [a for a in row.answers if (a.model, a.prompt_format) == (model, form)]})
        for row in generated.samples
        if row.context_source == source
        for form in [formats[model]]
    ]
    rows = sorted((row for row in rows if row.answers), key=lambda row: sha256_text(row.question_id))[:n]
    return generated.model_copy(update={"samples": rows})


def _server_decoding(decoding: DecodingConfig) -> tuple[DecodingConfig, list[str]]:
    """Return the settings for the server, and notes about those that a server does not support."""
    if decoding.repetition_penalty == 1 or decoding.penalty_scope == "prompt":
        return decoding, []
    note = (
        f"the evaluation used a repetition penalty of {decoding.repetition_penalty} on generated tokens only, which "
        "servers do not support; the server is asked without it, so some answers differ"
    )
    return decoding.model_copy(update={"repetition_penalty": 1.0}), [note]


def _ask(asked: Generated, decoding: DecodingConfig, served: ServedModel) -> dict[str, str]:
    """Return the served model's answers: question id -> text."""
    requests = [_request(row, served.name) for row in asked.samples]
    texts: dict[str, str] = {}

    def keep(request: GenerationRequest, answer: GeneratedAnswer) -> None:
        texts[request.question_id] = answer.text

    config = asked.run.config.model_copy(update={"server": served.server})
    try:
        with ServerBackend(asked.run.base_model, {}, config, models=()) as backend:
            backend.send(requests, decoding, keep)
    except (InvalidInputError, IncompleteError):
        raise
    except PipelineError as e:
        raise IncompleteError(f"{e}; nothing was compared; run the same command again") from e
    return texts


def _request(row: AnsweredSample, served_as: str) -> GenerationRequest:
    answer = row.answers[0]
    shown = [ContextChunkText(chunk.text, chunk.header) for chunk in row.chunks]
    prompt = build_prompt(row.question, shown, answer.prompt_format)
    return GenerationRequest(answer.key, served_as, row.question_id, prompt, answer.prompt_format)


def _with_text(row: AnsweredSample, texts: Mapping[str, str]) -> AnsweredSample:
    answer: ModelAnswer = row.answers[0].model_copy(update={"text": texts[row.question_id]})
    return row.model_copy(update={"answers": [answer]})


def compare_answers(before: Sequence[ScoredAnswer], after: Sequence[ScoredAnswer]) -> list[SmokeAnswer]:
    """Put the two answers to each question next to each other. Both sequences have the same questions in one order."""
    metric = METRICS[CORRECT]
    known, served = metric.outcomes(before), metric.outcomes(after)
    return [
        SmokeAnswer(
            question_id=a.question_id,
            question=a.question,
            evaluated=a.answer,
            served=b.answer,
            equal=a.answer.strip() == b.answer.strip(),
            evaluated_correct=known.get(a.question_id),
            served_correct=served.get(a.question_id),
        )
        for a, b in zip(before, after, strict=True)
    ]


def summarize_comparison(rows: Sequence[SmokeAnswer], before: Sequence[ScoredAnswer]) -> AnswerComparison:
    """Return the rates over the questions whose evaluated answer can be judged. `before` has their clusters."""
    evaluated = {row.question_id: row.evaluated_correct for row in rows if row.evaluated_correct is not None}
    answered = {row.question_id: bool(row.served_correct) for row in rows if row.question_id in evaluated}
    return AnswerComparison(
        equal=rate(sum(row.equal for row in rows), len(rows)),
        evaluated_correct=rate(sum(evaluated.values()), len(evaluated)),
        served_correct=rate(sum(answered.values()), len(answered)),
        difference=paired_difference(evaluated, answered, question_clusters(before)),
    )
