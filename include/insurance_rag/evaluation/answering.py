"""Answer the evaluation samples with every model. Answers that are already in the journal are reused."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation.backends.base import ModelBackend
from insurance_rag.evaluation.generated import AnsweredSample, ModelAnswer
from insurance_rag.evaluation.journal import EvaluationJournal
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest, answer_key, build_prompt
from insurance_rag.evaluation.samples import EvalSample
from insurance_rag.evaluation.scoring import score

SYNC_EVERY_S = 5.0
"""Minimum number of seconds between two syncs of the journal to disk."""

Asked = Sequence[tuple[EvalSample, list[tuple[GenerationRequest, GeneratedAnswer]]]]
"""Every sample with its requests and their answers."""


def generate_answers(
    samples: Sequence[EvalSample],
    formats: Mapping[str, Sequence[str]],
    backend: ModelBackend,
    decoding: DecodingConfig,
    out: Path,
    progress: Path | None,
) -> list[AnsweredSample]:
    """Return every model's answers to every sample, without scores.

    `formats` maps each model to the prompt formats in which it is asked. Answers are stored in
    `out`/answers.journal.jsonl, and only missing ones are generated. `progress` is the folder for the progress file.
    """
    asked = _ask(samples, formats, backend, decoding, out, progress, "answers")
    return [_answered(sample, answers) for sample, answers in asked]


def answer_samples(
    samples: Sequence[EvalSample],
    formats: Mapping[str, Sequence[str]],
    backend: ModelBackend,
    decoding: DecodingConfig,
    config: EvaluationConfig,
    out: Path,
    progress: Path | None,
    label: str = "answers",
) -> list[ScoredAnswer]:
    """Return every model's scored answers to every sample. `label` is part of the progress file's name.

    See `generate_answers` for the other parameters.
    """
    return [
        score(sample, request, answer, decoding, config.min_lexical_support)
        for sample, answers in _ask(samples, formats, backend, decoding, out, progress, label)
        for request, answer in answers
    ]


def _ask(
    samples: Sequence[EvalSample],
    formats: Mapping[str, Sequence[str]],
    backend: ModelBackend,
    decoding: DecodingConfig,
    out: Path,
    progress: Path | None,
    label: str,
) -> Asked:
    asked = [(sample, _requests(sample, formats, backend, decoding)) for sample in samples]
    # A question's retrieved and gold contexts are often equal. The two requests then share a key: only one is sent.
    requests = {request.key: request for _, own in asked for request in own}
    with EvaluationJournal(out / "answers.journal.jsonl") as journal:
        _generate_missing(requests, backend, decoding, journal, progress, label)
    return [(sample, [(request, journal.answers[request.key]) for request in own]) for sample, own in asked]


def _requests(
    sample: EvalSample, formats: Mapping[str, Sequence[str]], backend: ModelBackend, decoding: DecodingConfig
) -> list[GenerationRequest]:
    question, found = sample.question, []
    for model, names in formats.items():
        for name in names:
            prompt = build_prompt(question.question, sample.shown, name)
            key = answer_key(prompt, question.question_id, backend.identities[model], decoding)
            found.append(GenerationRequest(key, model, question.question_id, prompt, name))
    return found


def _answered(sample: EvalSample, answers: Sequence[tuple[GenerationRequest, GeneratedAnswer]]) -> AnsweredSample:
    return AnsweredSample(
        question_id=sample.question.question_id,
        question=sample.question.question,
        gold_chunk_ids=sample.question.gold_chunk_ids,
        context_source=sample.source,
        chunks=sample.chunks,
        gold_in_context=sample.gold_in_context,
        answers=[
            ModelAnswer(
                model=request.model,
                prompt_format=request.prompt_format,
                key=request.key,
                text=answer.text,
                new_tokens=answer.new_tokens,
                seconds=answer.seconds,
            )
            for request, answer in answers
        ],
    )


def _generate_missing(
    requests: Mapping[str, GenerationRequest],
    backend: ModelBackend,
    decoding: DecodingConfig,
    journal: EvaluationJournal,
    progress: Path | None,
    label: str,
) -> None:
    """Answer the requests that have no answer in the journal yet, and add the new answers to the journal."""
    missing = [request for key, request in requests.items() if key not in journal.answers]
    done = len(requests) - len(missing)
    with Progress("evaluate", label, total=len(requests), done=done, unit="answers", folder=progress) as bar:
        synced = time.monotonic()

        def keep(request: GenerationRequest, answer: GeneratedAnswer) -> None:
            nonlocal synced
            journal.add(request.key, answer)
            bar.advance()
            if time.monotonic() - synced > SYNC_EVERY_S:
                journal.sync()
                synced = time.monotonic()

        if missing:
            backend.answer(missing, decoding, keep)
