"""Build requests for Google's Gemini API, and interpret responses by their structured fields, never by message texts.

References: https://ai.google.dev/gemini-api/docs/rate-limits, https://ai.google.dev/gemini-api/docs/troubleshooting,
and the protobuf messages google.rpc.QuotaFailure and google.rpc.RetryInfo.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydantic import JsonValue, SecretStr

from insurance_rag.core.errors import (
    BlockedAnswerError,
    InvalidAnswerError,
    KeyRejectedError,
    PipelineError,
    ProjectRejectedError,
    QuotaExhaustedError,
    RateLimitError,
)
from insurance_rag.llm.client import AsyncClient, Client, Completion, Response
from insurance_rag.llm.json_values import as_dict, as_int, as_list, as_text

BASE_URL = "https://generativelanguage.googleapis.com"
MAX_QUOTA_DIGITS = 18
"""A longer number in a quota violation is not a quota."""
BLOCKING_REASONS = {"SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII"}


def api_key_header(key: SecretStr) -> dict[str, str]:
    """Return the header that authorizes a request."""
    return {"x-goog-api-key": key.get_secret_value()}


def content_path(model: str) -> str:
    """Return the URL path of the model's generateContent method."""
    return f"/v1beta/models/{model}:generateContent"


def content_body(
    prompt: str,
    temperature: float,
    schema: JsonValue,
    max_output_tokens: int | None = None,
    thinking: dict[str, JsonValue] | None = None,
) -> dict[str, JsonValue]:
    """Return the body of a generateContent request whose answer must fit a JSON schema.

    `thinking` is the value of `thinkingConfig`; None leaves it out.
    """
    generation_config: dict[str, JsonValue] = {
        "temperature": temperature,
        "responseMimeType": "application/json",
        "responseSchema": schema,
    }
    if max_output_tokens is not None:
        generation_config["maxOutputTokens"] = max_output_tokens
    if thinking is not None:
        generation_config["thinkingConfig"] = thinking
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "generationConfig": generation_config}


def read_completion(body: dict[str, JsonValue]) -> Completion:
    """Return the text, the token counts and the model from a generateContent response.

    A text that the token limit ended is returned with `is_cut`. Raises BlockedAnswerError if the API blocked the
    request or its answer. Raises InvalidAnswerError if there is no text; another request may then succeed. Both errors
    carry token counts.
    """
    tokens = read_usage(body)
    try:
        text, is_cut = _text(body)
    except (InvalidAnswerError, BlockedAnswerError) as e:
        e.tokens = tokens
        raise
    return Completion(text, *tokens, model=as_text(body.get("modelVersion")), is_cut=is_cut)


def read_usage(body: dict[str, JsonValue]) -> tuple[int, int]:
    """Return the numbers of input and output tokens. Output includes thinking tokens, which are billed as output."""
    usage = as_dict(body.get("usageMetadata"))
    written = as_int(usage.get("candidatesTokenCount")) + as_int(usage.get("thoughtsTokenCount"))
    return as_int(usage.get("promptTokenCount")), written


def _text(body: dict[str, JsonValue]) -> tuple[str, bool]:
    """Return the text, and whether the token limit ended it."""
    if reason := as_text(as_dict(body.get("promptFeedback")).get("blockReason")):
        raise BlockedAnswerError(f"prompt blocked: {reason}")
    candidates = as_list(body.get("candidates"))
    if not candidates:
        raise InvalidAnswerError("the answer contains no candidates")
    candidate = as_dict(candidates[0])
    finish = as_text(candidate.get("finishReason")) or "STOP"
    if finish in BLOCKING_REASONS:
        raise BlockedAnswerError(f"answer blocked: {finish}")
    parts = [as_dict(part) for part in as_list(as_dict(candidate.get("content")).get("parts"))]
    text = "".join(as_text(part.get("text")) for part in parts if not part.get("thought"))
    if finish != "STOP" and not (finish == "MAX_TOKENS" and text):  # e.g. OTHER; another request may succeed
        raise InvalidAnswerError(f"the answer is incomplete (finishReason {finish})")
    return text, finish == "MAX_TOKENS"


def read_error(client: AsyncClient | Client, response: Response) -> PipelineError:
    """Return the error for a response whose status is not 200. If the body has `error.details`, they are used."""
    error = as_dict(as_dict(response.body).get("error"))
    message = client.scrub(as_text(error.get("message")) or f"HTTP {response.status}")
    details = [detail for detail in as_list(error.get("details")) if isinstance(detail, dict)]
    if response.status == 429:
        return _quota_error(details, message, client.base_url)
    status = as_text(error.get("status"))
    reasons = {as_text(detail.get("reason")) for detail in details}
    # FAILED_PRECONDITION means that billing is disabled or that the country is not supported.
    if "API_KEY_INVALID" in reasons or status == "FAILED_PRECONDITION":
        return KeyRejectedError(
            f"{client.base_url} rejects the key ({response.status} {status}): {message}; replace the key"
        )
    return client.error(response, message)


def _quota_error(details: list[dict[str, JsonValue]], message: str, base_url: str) -> PipelineError:
    violations = list(_violations(details))
    if any(limit == 0 for _, limit in violations):
        return ProjectRejectedError(
            f"{base_url}: limit: 0 for this model ({violations[0][0]}); use another model or project"
        )
    if any("PerDay" in quota_id for quota_id, _ in violations):
        return QuotaExhaustedError(
            f"{base_url}: the daily quota is used up ({message}); run the same command again tomorrow"
        )
    wait = next((_seconds(detail["retryDelay"]) for detail in details if detail.get("retryDelay")), None)
    text = f"{base_url} limits the rate (429): {message}"
    if not violations:
        return RateLimitError(text, wait)
    quota_id, limit = violations[0]
    return RateLimitError(text, wait, "tokens" if "Token" in quota_id else "requests", limit)


def _violations(details: list[dict[str, JsonValue]]) -> Iterator[tuple[str, int | None]]:
    """Yield (quotaId, quotaValue) for each violation. The value is None if it is not a number.

    A missing value means 0, because proto3 omits zeros.
    """
    for detail in details:
        for violation in as_list(detail.get("violations")):
            fields = as_dict(violation)
            value = str(fields.get("quotaValue", 0))
            is_number = value.isdecimal() and len(value) <= MAX_QUOTA_DIGITS
            yield str(fields.get("quotaId", "")), int(value) if is_number else None


def _seconds(duration: JsonValue) -> float | None:
    """Return the seconds in a JSON-encoded google.protobuf.Duration, such as `"42.5s"`; None if it is malformed."""
    try:
        seconds = float(str(duration).removesuffix("s"))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
