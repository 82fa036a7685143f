"""Answer the evaluation samples with every model. Answers that are already in the journal are reused."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation.backends.base import ModelBackend
from insurance_rag.evaluation.journal import EvaluationJournal
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest, answer_key, build_prompt
from insurance_rag.evaluation.samples import EvalSample
from insurance_rag.evaluation.scoring import score

SYNC_EVERY_S = 5.0
"""Minimum number of seconds between two syncs of the journal to disk."""


def answer_samples(
    samples: Sequence[EvalSample],
    models: Sequence[str],
    backend: ModelBackend,
    decoding: DecodingConfig,
    config: EvaluationConfig,
    out: Path,
    progress: Path | None,
    label: str = "answers",
) -> list[ScoredAnswer]:
    """Return every model's scored answer to every sample.

    Answers are stored in `out`/answers.journal.jsonl, and only missing ones are generated. `progress` is the folder for
    the progress file, and `label` is part of that file's name.
    """
    asked = [(sample, request) for sample in samples for request in _requests(sample, models, backend, decoding)]
    # A question's retrieved and gold contexts are often equal. The two requests then share a key: only one is sent.
    requests = {request.key: request for _, request in asked}
    with EvaluationJournal(out / "answers.journal.jsonl") as journal:
        _generate_missing(requests, backend, decoding, journal, progress, label)
    return [
        score(sample, request, journal.answers[request.key], decoding, config.min_lexical_support)
        for sample, request in asked
    ]


def _requests(
    sample: EvalSample, models: Sequence[str], backend: ModelBackend, decoding: DecodingConfig
) -> list[GenerationRequest]:
    question_id = sample.question.question_id
    prompt = build_prompt(sample.question.question, sample.context)
    return [
        GenerationRequest(
            answer_key(prompt, question_id, backend.identities[model], decoding), model, question_id, prompt
        )
        for model in models
    ]


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
