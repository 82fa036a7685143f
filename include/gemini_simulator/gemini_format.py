"""Gemini's REST shapes: requests read into wishes, replies and refusals written as Google writes them."""

from __future__ import annotations

import hashlib
from typing import Any

from gemini_simulator.parsed_request import Wish
from gemini_simulator.quota import Metric, Violation
from gemini_simulator.service import (
    BadRequest,
    KeyRefused,
    QuotaBroken,
    Reply,
    RequestRefused,
    ServerFault,
    count_tokens,
)

Json = dict[str, Any]

_TYPE = "type.googleapis.com/google.rpc."
_SERVICE = "generativelanguage.googleapis.com"
_HELP = {
    "@type": _TYPE + "Help",
    "links": [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ],
}
#: One prose for a minute, a day and `limit: 0`: only the details tell them apart.
_QUOTA_PROSE = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)
_QUOTAS: dict[Metric, tuple[str, str]] = {
    "rpm": ("generate_content_free_tier_requests", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
    "tpm": (
        "generate_content_free_tier_input_token_count",
        "GenerateContentInputTokensPerModelPerMinute-FreeTier",
    ),
    "rpd": ("generate_content_free_tier_requests", "GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
}
_KEY_PROSE = {
    "leaked": "Your API key was reported as leaked. Please use another API key.",
    "suspended": "Permission denied: Consumer 'api_key' has been suspended.",
    "disabled": "Generative Language API has not been used in this project before or it is disabled.",
    "missing": "Method doesn't allow unregistered callers (callers without established identity). Please use API Key "
    "or other form of API consumer identity to call this API.",
}
_KEY_REASONS = {"suspended": "CONSUMER_SUSPENDED", "disabled": "SERVICE_DISABLED"}

BAD_GATEWAY = (
    "<!DOCTYPE html>\n<html lang=en>\n<title>Error 502 (Server Error)!!1</title>\n<p><b>502.</b> That’s an error.\n"
    "<p>The server encountered a temporary error and could not complete your request.\n"
)


def read_request(body: Any) -> Wish:
    """The wish in a GenerateContentRequest; BadRequest where it has no contents."""
    if not isinstance(body, dict) or not isinstance(body.get("contents"), list) or not body["contents"]:
        raise BadRequest("* GenerateContentRequest.contents: contents is not specified")
    config = body.get("generationConfig") or body.get("generation_config") or {}
    system = body.get("systemInstruction") or body.get("system_instruction")
    contents = ([system] if system else []) + body["contents"]
    parts = [part for content in contents for part in content.get("parts", [])]
    schema = config.get("responseSchema") or config.get("responseJsonSchema") or config.get("_responseJsonSchema")
    if (config.get("responseMimeType") or "text/plain") == "application/json":
        schema = schema or {"type": "array"}
    elif schema:
        raise BadRequest("response_schema is only supported with response_mime_type application/json")
    return Wish("\n".join(part.get("text", "") for part in parts), schema)


def write_reply(reply: Reply, model: str) -> Json:
    """A GenerateContentResponse."""
    usage = {"promptTokenCount": reply.tokens_in, "totalTokenCount": reply.tokens_in + reply.tokens_out}
    answer: Json = {"modelVersion": model, "responseId": hashlib.sha256(repr(reply).encode()).hexdigest()[:22]}
    if reply.tokens_out:
        usage["candidatesTokenCount"] = reply.tokens_out
    answer["usageMetadata"] = usage
    match reply.finish:
        case "PROHIBITED_CONTENT":
            answer["promptFeedback"] = {"blockReason": reply.finish}
        case "EMPTY":
            answer["candidates"] = [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]
        case "SAFETY" | "RECITATION":
            answer["candidates"] = [{"finishReason": reply.finish, "index": 0}]
        case _:
            content = {"parts": [{"text": reply.text}], "role": "model"}
            answer["candidates"] = [{"content": content, "finishReason": reply.finish, "index": 0}]
    return answer


def write_refusal(refusal: RequestRefused) -> tuple[int, Json]:
    """The status and error body of a refusal (502 and drops, which have no such body, are the server's matter)."""
    match refusal:
        case KeyRefused(state="invalid"):
            message = "API key not valid. Please pass a valid API key."
            return 400, _error(400, message, "INVALID_ARGUMENT", [_error_info("API_KEY_INVALID")])
        case KeyRefused(state=state, project=project):
            info = [_error_info(_KEY_REASONS[state], project)] if state in _KEY_REASONS else []
            return 403, _error(403, _KEY_PROSE[state], "PERMISSION_DENIED", info)
        case QuotaBroken():
            return 429, _quota_error(refusal)
        case ServerFault(kind="503"):
            return 503, _error(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")
        case ServerFault():
            message = "An internal error has occurred. Please retry or report in https://ai.google.dev/troubleshooting"
            return 500, _error(500, message, "INTERNAL")
        case _:
            return 400, _error(400, str(refusal), "INVALID_ARGUMENT")


def not_found(what: str) -> Json:
    return _error(404, f"{what} is not found for API version v1beta, or is not supported.", "NOT_FOUND")


def model_card(model: str) -> Json:
    return {
        "name": f"models/{model}",
        "version": "001",
        "displayName": model,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "batchGenerateContent"],
    }


def token_count(body: Any) -> Json:
    wished = body.get("generateContentRequest", body) if isinstance(body, dict) else body
    return {"totalTokens": count_tokens(read_request(wished).prompt)}


def _quota_error(refusal: QuotaBroken) -> Json:
    if refusal.bare:
        return _error(429, "Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED")
    failure = {
        "@type": _TYPE + "QuotaFailure",
        "violations": [_violation(v, refusal.model) for v in refusal.violations],
    }
    retry = {"@type": _TYPE + "RetryInfo", "retryDelay": f"{refusal.retry_s:.9f}".rstrip("0").rstrip(".") + "s"}
    return _error(429, _QUOTA_PROSE, "RESOURCE_EXHAUSTED", [failure, _HELP, retry])


def _violation(violation: Violation, model: str) -> Json:
    metric, quota_id = _QUOTAS[violation.metric]
    entry = {
        "quotaMetric": f"{_SERVICE}/{metric}",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": model},
    }
    # proto3 leaves a zero out: `limit: 0` is a violation without a quotaValue.
    return {**entry, "quotaValue": str(violation.limit)} if violation.limit else entry


def _error_info(reason: str, project: str = "") -> Json:
    metadata = {"service": _SERVICE, **({"consumer": f"projects/{project}"} if project else {})}
    return {"@type": _TYPE + "ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def _error(code: int, message: str, status: str, details: list[Json] | None = None) -> Json:
    error: Json = {"code": code, "message": message, "status": status}
    return {"error": {**error, "details": details} if details else error}
