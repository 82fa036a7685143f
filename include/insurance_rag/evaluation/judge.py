"""An optional judge: a model that reads each answer against its clauses and must quote what it rests on.

A claim called supported counts only if its evidence stands in the context to the letter; a judgement that cannot be
read, or quotes what is not there, is unusable and counted so. Cached by (judge, prompt, context, question, answer).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from insurance_rag.core.errors import InvalidInputError, ServerUnavailableError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.progress import Progress
from insurance_rag.core.stats import rate
from insurance_rag.evaluation.journal import EvaluationJournal
from insurance_rag.evaluation.requests import Reply
from insurance_rag.evaluation.scoring import ScoredAnswer
from insurance_rag.korean import squeeze

PROMPT = "judge_v1"


class Claim(BaseModel):
    model_config = ConfigDict(extra="ignore")

    claim: str
    supported: bool
    evidence: str | None = None


class _Reply(BaseModel):
    claims: list[Claim]


class Judgement(BaseModel):
    """`hallucinated` is None where the judgement is unusable, for the reason in `unusable`."""

    key: str
    question_id: str
    model: str
    hallucinated: bool | None
    claims: list[Claim]
    unusable: str | None = None


def judge_answers(
    rows: Sequence[ScoredAnswer], judge: str, out: Path, progress: Path | None = None, concurrency: int = 8
) -> list[Judgement]:
    """One judgement an answer. `judge` is MODEL@BASE_URL of an OpenAI-compatible server; its key is JUDGE_API_KEY."""
    model, at, base_url = judge.partition("@")
    if not (model and at and base_url):
        raise InvalidInputError(f"judge {judge!r}: want MODEL@BASE_URL")
    prompt = (Path(__file__).parent / f"{PROMPT}.txt").read_text("utf-8")
    keys = [sha256_text(model, prompt, row.context, row.question, row.answer) for row in rows]
    texts = {key: _question(prompt, row) for key, row in zip(keys, rows, strict=True) if row.answer}
    headers = {"Authorization": f"Bearer {os.environ.get('JUDGE_API_KEY', 'none')}"}
    with (
        httpx.Client(base_url=base_url.rstrip("/"), headers=headers, timeout=120) as client,
        EvaluationJournal(out / "judge.journal.jsonl") as journal,
        ThreadPoolExecutor(concurrency) as pool,
    ):
        missing = [key for key in texts if key not in journal.replies]
        total, done = len(texts), len(texts) - len(missing)
        with Progress("evaluate", "judge", total=total, done=done, unit="answers", folder=progress) as bar:
            for key, text in zip(missing, pool.map(lambda k: _ask(client, model, texts[k]), missing), strict=True):
                journal.add(key, Reply(text, 0, 0.0))
                bar.advance()
        replies = {key: reply.text for key, reply in journal.replies.items()}
    return [_read(replies.get(key, '{"claims": []}'), row) for key, row in zip(keys, rows, strict=True)]


def judged_rates(judgements: Sequence[Judgement], models: Sequence[str]) -> dict[str, Any]:
    """By model: the rate among the usable judgements, and how many were not, with their reasons."""
    figures = {}
    for model in models:
        own = [judgement for judgement in judgements if judgement.model == model]
        usable = [judgement for judgement in own if judgement.unusable is None]
        reasons = [judgement.unusable for judgement in own if judgement.unusable]
        figures[model] = {
            "hallucination": rate(sum(bool(j.hallucinated) for j in usable), len(usable)),
            "unusable": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        }
    return figures


def _question(prompt: str, row: ScoredAnswer) -> str:
    return f"{prompt}\n[약관]\n{row.context}\n\n[질문]\n{row.question}\n\n[답변]\n{row.answer}\n"


def _read(text: str, row: ScoredAnswer) -> Judgement:
    def judgement(hallucinated: bool | None, claims: list[Claim], unusable: str | None = None) -> Judgement:
        return Judgement(
            key=row.key, question_id=row.question_id, model=row.model, hallucinated=hallucinated, claims=claims,
            unusable=unusable,
        )  # fmt: skip

    start, end = text.find("{"), text.rfind("}")
    try:
        claims = _Reply.model_validate_json(text[start : end + 1]).claims
    except ValidationError:
        return judgement(None, [], "not the JSON that was asked for")
    context = squeeze(row.context)
    if any(c.supported and (not c.evidence or squeeze(c.evidence) not in context) for c in claims):
        return judgement(None, claims, "evidence that is not in the context")
    return judgement(any(not claim.supported for claim in claims), claims)


@retry(
    retry=retry_if_exception_type(ServerUnavailableError), stop=stop_after_attempt(5), wait=wait_random_exponential(1, 20),
    reraise=True,
)  # fmt: skip
def _ask(client: httpx.Client, model: str, text: str) -> str:
    """The judge's text; "" where it gives none or refuses the request for what stands in it. Raises ServerUnavailableError,
    and InvalidInputError where no request can succeed (the key, the model's name)."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "response_format": {"type": "json_object"},
    }
    try:
        response = client.post("/chat/completions", json=body)
    except httpx.HTTPError as e:
        raise ServerUnavailableError(f"judge: {type(e).__name__}; is the server up?") from e
    if response.status_code == 429 or response.status_code >= 500:
        raise ServerUnavailableError(f"judge: {response.status_code}")
    if response.status_code in {400, 413, 422}:
        return ""
    if response.status_code >= 400:
        raise InvalidInputError(f"judge: {response.status_code} {response.text[:300]}")
    try:
        return str(response.json()["choices"][0]["message"]["content"] or "")
    except (json.JSONDecodeError, KeyError, IndexError, TypeError):
        return ""
