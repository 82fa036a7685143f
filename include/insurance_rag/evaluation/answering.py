"""Answer the evaluation samples with every model, reusing the answers that the journal already has."""

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
"""Answers are synced to disk after this many seconds at the latest."""


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
    """Return the scored answer of every model to every sample.

    Answers are stored in `out`/answers.journal.jsonl; only those that it lacks are generated. `progress` is the folder
    of the progress file, `label` its name.
    """
    asked = [(sample, request) for sample in samples for request in _requests(sample, models, backend, decoding)]
    # Retrieved and gold context are often equal. Their requests have the same key and are sent once.
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
    """Answer the requests that are not in the journal."""
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
