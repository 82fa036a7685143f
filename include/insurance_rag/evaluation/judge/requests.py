"""Sends answers to the judge, and stores its outputs.

A stored output is reused if the judge model, the prompt, the context, the question and the answer are the same.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import SecretStr

from insurance_rag.core.errors import (
    IncompleteError,
    InvalidInputError,
    InvalidRequestError,
    RateLimitError,
    ServerUnavailableError,
)
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.progress import Progress
from insurance_rag.evaluation.journal import EvaluationJournal
from insurance_rag.evaluation.judge import evidence, judgements
from insurance_rag.evaluation.judge.judgements import (
    AnswerToJudge,
    Judgement,
    judgement_of_empty_answer,
    read_judgement,
)
from insurance_rag.evaluation.requests import GeneratedAnswer
from insurance_rag.llm import openai
from insurance_rag.llm.client import Client

PROMPT = "judge_v2"
TIMEOUT_S = 120.0
ATTEMPTS = 5
"""Maximum number of requests for one output, if the server fails or limits the rate."""
MAX_TRIES = 2
"""Maximum number of outputs per answer. The second one is requested if the first judgement is unusable."""

CORRECTIONS = {
    judgements.NOT_JSON: "요청한 형식의 JSON이 아닙니다.",
    judgements.NO_CLAIMS: "답변에 주장이 있는데 claims가 비어 있습니다.",
    evidence.NO_QUOTE: "supported가 true인 주장에 evidence가 없습니다.",
    evidence.SHORT_QUOTE: "evidence가 너무 짧습니다. 문장 전체를 옮기십시오.",
    evidence.NOT_LITERAL: "evidence가 약관에 그대로 나오지 않습니다.",
    evidence.QUANTITY_MISSING: "주장의 금액, 기간, 비율이 evidence에 없습니다.",
    evidence.BOUND_DIFFERS: "주장과 evidence의 이상, 이하, 초과, 미만이 다릅니다.",
    evidence.ARTICLE_DIFFERS: "evidence가 주장이 말하는 조의 문장이 아닙니다.",
    evidence.POLARITY_DIFFERS: "주장과 evidence의 긍정과 부정이 반대입니다.",
}
"""Reason why a judgement is unusable -> what the second request says about it."""


def judge_answers(
    rows: Sequence[AnswerToJudge], judge: str, out: Path, progress: Path | None = None, concurrency: int = 8
) -> list[Judgement]:
    """Return one judgement per answer, in the order of `rows`. Stored outputs are not requested again.

    `judge` has the form MODEL@BASE_URL and names a model on an OpenAI-compatible server. The API key is read from
    JUDGE_API_KEY. Outputs are stored in `out`/judge.journal.jsonl. Raises IncompleteError if the server fails; the
    outputs received so far are kept. Raises KeyRejectedError if the server rejects the key, and InvalidInputError if
    the model name or the address is wrong.
    """
    model, at, base_url = judge.partition("@")
    if not (model and at and base_url):
        raise InvalidInputError(f"judge {judge!r}: not of the form MODEL@BASE_URL; e.g. qwen3@http://127.0.0.1:8000/v1")
    prompt = (Path(__file__).parent / f"{PROMPT}.txt").read_text("utf-8")
    api_key = SecretStr(os.environ.get("JUDGE_API_KEY", ""))
    with (
        Client(base_url, api_key, openai.bearer(api_key), TIMEOUT_S, where="judge") as client,
        EvaluationJournal(out / "judge.journal.jsonl") as journal,
        ThreadPoolExecutor(concurrency) as pool,
    ):
        stored = {key: answer.text for key, answer in journal.answers.items()}
        session = _Session(client, model, prompt, stored)
        distinct = {session.key(row): row for row in rows if row.answer.strip()}
        with Progress("evaluate", "judge", total=len(distinct), done=0, unit="answers", folder=progress) as bar:
            for new in pool.map(session.outputs, distinct.values()):
                for key, output in new.items():
                    journal.add(key, GeneratedAnswer(output, 0, 0.0))
                    stored[key] = output
                bar.advance()
    return [session.judgement(row) for row in rows]


class _Session:
    """Requests outputs from one judge. `stored` maps the keys of requests to outputs that need not be requested."""

    def __init__(self, client: Client, model: str, prompt: str, stored: dict[str, str]) -> None:
        self._client, self._model, self._prompt, self._stored = client, model, prompt, stored
        self._reading = threading.Lock()  # the morphological analyzer's cache is not thread-safe

    def key(self, row: AnswerToJudge, correction: str = "") -> str:
        """Return the key of the first request for an answer, or of the second one, which contains a correction."""
        parts = (self._model, self._prompt, row.context, row.question, row.answer)
        return sha256_text(*parts, correction) if correction else sha256_text(*parts)

    def outputs(self, row: AnswerToJudge) -> dict[str, str]:
        """Return the outputs for one answer that are not stored yet, by request key."""
        new = dict[str, str]()
        correction = ""
        for number in range(1, MAX_TRIES + 1):
            key = self.key(row, correction)
            output = self._stored.get(key)
            if output is None:
                output = new[key] = self._request(row, correction)
            with self._reading:
                judgement = read_judgement(output, row, number)
            if judgement.unusable is None:
                break
            correction = _correction(output, judgement.unusable)
        return new

    def judgement(self, row: AnswerToJudge) -> Judgement:
        """Return the judgement from the stored outputs: the first usable one, otherwise the last one."""
        if not row.answer.strip():
            return judgement_of_empty_answer(row)
        judgement = read_judgement(output := self._stored[self.key(row)], row, 1)
        for number in range(2, MAX_TRIES + 1):
            if judgement.unusable is None:
                break
            output = self._stored[self.key(row, _correction(output, judgement.unusable))]
            judgement = read_judgement(output, row, number)
        return judgement

    def _request(self, row: AnswerToJudge, correction: str) -> str:
        """Return the judge's output. It is empty if the judge writes nothing or the server rejects the content."""
        text = f"{self._prompt}\n[약관]\n{row.context}\n\n[질문]\n{row.question}\n\n[답변]\n{row.answer}\n{correction}"
        body = openai.chat_body(self._model, text, 0, {"type": "json_object"})
        try:
            return openai.message_text(self._client.call("POST", "/chat/completions", body, ATTEMPTS))
        except InvalidRequestError:
            return ""
        except (ServerUnavailableError, RateLimitError) as e:
            raise IncompleteError(
                f"judge: {e}; the judgements received so far are kept; run the same command again"
            ) from None


def _correction(output: str, reason: str) -> str:
    """Return what the next request adds: the unusable output, and what is wrong with it."""
    problem = f"{CORRECTIONS[reason]} 규칙에 맞게 JSON을 다시 출력하십시오."
    return f"\n[이전 출력]\n{output}\n\n[이전 출력의 문제]\n{problem}\n"
