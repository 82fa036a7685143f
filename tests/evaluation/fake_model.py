"""A backend with fixed answers: for answers that a model rarely gives, and for being killed halfway.

python -m tests.evaluation.fake_model OUT CACHE 5      answers the first questions, and is killed (SIGKILL) after five
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import DecodingConfig
from insurance_rag.core.records import EvaluationArtifact
from insurance_rag.evaluation import runner
from insurance_rag.evaluation.backends import OnAnswer
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest

QUESTIONS = 12
REFUSAL_ANSWER = "약관에 해당 내용이 없습니다."


class FakeBackend:
    """Answers every request at once with a configured text, or else with a refusal."""

    identities: ClassVar[Mapping[str, str]] = {"Base": "fake"}
    context_limit = 4096

    def __init__(self, answers: Mapping[str, str] | None = None, dies_after: int | None = None) -> None:
        """`answers` maps question ids to texts. The process kills itself after `dies_after` answers."""
        self.answers, self.requests, self.dies_after = answers or {}, 0, dies_after

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def count_tokens(self, prompt: str, prompt_format: str) -> int:
        return len(prompt)

    def answer(self, requests: Sequence[GenerationRequest], decoding: DecodingConfig, on_answer: OnAnswer, /) -> None:
        for request in requests:
            if self.requests == self.dies_after:
                os.kill(os.getpid(), signal.SIGKILL)
            self.requests += 1
            on_answer(request, GeneratedAnswer(self.answers.get(request.question_id, REFUSAL_ANSWER), 5, 0.1))


def evaluate_with(backend: FakeBackend, out: Path, cache: Path, questions: int = QUESTIONS) -> EvaluationArtifact:
    """Evaluate the first questions of the sample with `backend`. Restore `runner.open_backend` afterwards."""
    setattr(runner, "open_backend", lambda *_: backend)  # noqa: B010  # mypy: the module does not export the name
    asked = read_questions("sample")[:questions]
    return runner.evaluate(asked, read_chunks("sample"), "fake", {}, DecodingConfig(), out, cache=cache)


if __name__ == "__main__":
    evaluate_with(FakeBackend(dies_after=int(sys.argv[3])), Path(sys.argv[1]), Path(sys.argv[2]))
