"""An answerer that says what it is told to: for answers a model would hardly give, and for dying in their midst.

python -m tests.evaluation.fake_model OUT CACHE 5      answers the first questions and is killed (SIGKILL) after five
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, ClassVar

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import DecodingConfig
from insurance_rag.evaluation import run as evaluation_run
from insurance_rag.evaluation.requests import GenerationRequest, Reply

QUESTIONS = 12


class Parrot:
    identities: ClassVar[dict[str, str]] = {"Base": "parrot"}
    context_limit = 4096

    def __init__(self, says: dict[str, str] | None = None, dies_after: int | None = None) -> None:
        self.says, self.asked, self.dies_after = says or {}, 0, dies_after

    def __enter__(self) -> Parrot:
        return self

    def __exit__(self, *_: object) -> None: ...

    def count_tokens(self, text: str) -> int:
        return len(text)

    def answer(self, asks: list[GenerationRequest], decoding: DecodingConfig, on_reply: Any) -> None:
        for ask in asks:
            if self.asked == self.dies_after:
                os.kill(os.getpid(), signal.SIGKILL)
            self.asked += 1
            on_reply(ask, Reply(self.says.get(ask.question_id, "약관에 해당 내용이 없습니다."), 5, 0.1))


def evaluate_with(parrot: Parrot, out: Path, cache: Path, questions: int = QUESTIONS) -> dict[str, Any]:
    """`evaluate` on the first questions of the sample, answered by the parrot."""
    evaluation_run.open_backend = lambda *_: parrot  # type: ignore[assignment]
    asked = read_questions("sample")[:questions]
    return evaluation_run.evaluate(asked, read_chunks("sample"), "parrot", {}, DecodingConfig(), out, cache=cache)


if __name__ == "__main__":
    evaluate_with(Parrot(dies_after=int(sys.argv[3])), Path(sys.argv[1]), Path(sys.argv[2]))
