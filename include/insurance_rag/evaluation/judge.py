"""An optional LLM judge, which reads each answer with its context and quotes evidence for every supported claim.

The evidence must be a literal quote from the context. A judgement is unusable if its evidence is not such a quote, or
if the judge's output cannot be parsed. Unusable judgements are counted separately. A stored judgement is reused if the
judge model, the prompt, the context, the question and the answer are the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from insurance_rag.core.errors import (
    IncompleteError,
    InvalidInputError,
    InvalidRequestError,
    RateLimitError,
    ServerUnavailableError,
)
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import Record
from insurance_rag.core.records.evaluation import JudgedModel, ScoredAnswer
from insurance_rag.core.stats import rate
from insurance_rag.evaluation.journal import EvaluationJournal
from insurance_rag.evaluation.requests import GeneratedAnswer
from insurance_rag.korean import remove_whitespace
from insurance_rag.llm import openai
from insurance_rag.llm.client import Client

PROMPT = "judge_v1"
TIMEOUT_S = 120.0
ATTEMPTS = 5
NO_CLAIMS = '{"claims": []}'


class Claim(BaseModel):
    """One factual claim in an answer, as the judge reports it. Additional fields in the judge's output are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    claim: str
    supported: bool
    evidence: str | None = None
    """Quote from the context that supports the claim."""


class _JudgeOutput(BaseModel):
    """The JSON object that the prompt asks the judge to return."""

    claims: list[Claim]


class Judgement(Record):
    """The judge's verdict on one answer."""

    key: str
    """Key of the judged answer."""
    question_id: str
    model: str
    hallucinated: bool | None
    """Whether any claim is unsupported; None if the judgement is unusable."""
    claims: list[Claim]
    unusable: str | None = None
    """Reason why the judgement is unusable; None if it is usable."""


def judge_answers(
    rows: Sequence[ScoredAnswer], judge: str, out: Path, progress: Path | None = None, concurrency: int = 8
) -> list[Judgement]:
    """Return one judgement per answer, in the order of `rows`. Stored judgements are not requested again.

    `judge` has the form MODEL@BASE_URL and names a model on an OpenAI-compatible server. The API key is read from
    JUDGE_API_KEY. Judgements are stored in `out`/judge.journal.jsonl. Raises IncompleteError if the server fails; the
    judgements received so far are kept. Raises KeyRejectedError if the server rejects the key, and InvalidInputError if
    the model name or the address is wrong.
    """
    model, at, base_url = judge.partition("@")
    if not (model and at and base_url):
        raise InvalidInputError(f"judge {judge!r}: not of the form MODEL@BASE_URL; e.g. qwen3@http://127.0.0.1:8000/v1")
    prompt = (Path(__file__).parent / f"{PROMPT}.txt").read_text("utf-8")
    keys = [sha256_text(model, prompt, row.context, row.question, row.answer) for row in rows]
    texts = {key: _judge_prompt(prompt, row) for key, row in zip(keys, rows, strict=True) if row.answer}
    api_key = SecretStr(os.environ.get("JUDGE_API_KEY", ""))
    with (
        Client(base_url, api_key, openai.bearer(api_key), TIMEOUT_S, where="judge") as client,
        EvaluationJournal(out / "judge.journal.jsonl") as journal,
        ThreadPoolExecutor(concurrency) as pool,
    ):
        missing = [key for key in texts if key not in journal.answers]
        total, done = len(texts), len(texts) - len(missing)
        with Progress("evaluate", "judge", total=total, done=done, unit="answers", folder=progress) as bar:
            outputs = pool.map(lambda key: _request_judgement(client, model, texts[key]), missing)
            for key, output in zip(missing, outputs, strict=True):
                journal.add(key, GeneratedAnswer(output, 0, 0.0))
                bar.advance()
        outputs_by_key = {key: answer.text for key, answer in journal.answers.items()}
    return [_read(outputs_by_key.get(key, NO_CLAIMS), row) for key, row in zip(keys, rows, strict=True)]


def judged_rates(judgements: Sequence[Judgement], models: Sequence[str]) -> dict[str, JudgedModel]:
    """Return each model's hallucination rate, and how many of its judgements are unusable for each reason.

    The hallucination rate leaves out unusable judgements.
    """
    figures = {}
    for model in models:
        own = [judgement for judgement in judgements if judgement.model == model]
        usable = [judgement for judgement in own if judgement.unusable is None]
        reasons = [judgement.unusable for judgement in own if judgement.unusable]
        figures[model] = JudgedModel(
            hallucination=rate(sum(bool(j.hallucinated) for j in usable), len(usable)),
            unusable={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        )
    return figures


def _judge_prompt(prompt: str, row: ScoredAnswer) -> str:
    return f"{prompt}\n[약관]\n{row.context}\n\n[질문]\n{row.question}\n\n[답변]\n{row.answer}\n"


def _read(output: str, row: ScoredAnswer) -> Judgement:
    """Parse a judgement from the judge's output, which may contain other text around the JSON object."""
    start, end = output.find("{"), output.rfind("}")
    try:
        claims = _JudgeOutput.model_validate_json(output[start : end + 1]).claims
    except ValidationError:
        return _judgement(row, None, [], "the output is not the requested JSON")
    context = remove_whitespace(row.context)
    if any(c.supported and (not c.evidence or remove_whitespace(c.evidence) not in context) for c in claims):
        return _judgement(row, None, claims, "the quoted evidence is not in the context")
    return _judgement(row, any(not claim.supported for claim in claims), claims)


def _judgement(
    row: ScoredAnswer, hallucinated: bool | None, claims: list[Claim], unusable: str | None = None
) -> Judgement:
    return Judgement(
        key=row.key,
        question_id=row.question_id,
        model=row.model,
        hallucinated=hallucinated,
        claims=claims,
        unusable=unusable,
    )


def _request_judgement(client: Client, model: str, prompt: str) -> str:
    """Return the judge's output. It is empty if the judge writes nothing or the server rejects the content."""
    body = openai.chat_body(model, prompt, 0, {"type": "json_object"})
    try:
        return openai.message_text(client.call("POST", "/chat/completions", body, ATTEMPTS))
    except InvalidRequestError:
        return ""
    except (ServerUnavailableError, RateLimitError) as e:
        raise IncompleteError(
            f"judge: {e}; the judgements received so far are kept; run the same command again"
        ) from None
