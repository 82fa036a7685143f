"""Gemini's REST format: parses requests, and writes answers and errors the way Google does."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from gemini_simulator.completion import Completion, count_tokens
from gemini_simulator.errors import (
    BadRequestError,
    KeyRefusedError,
    ModelNotFoundError,
    QuotaExceededError,
    RequestRefusedError,
    ServerFaultError,
)
from gemini_simulator.json_types import JsonObject, as_list, as_number, as_object, as_text
from gemini_simulator.parsed_request import GenerationOptions, ParsedRequest
from gemini_simulator.quota import Metric, QuotaViolation
from gemini_simulator.reply import THINKING_SHARES

_TYPE_PREFIX = "type.googleapis.com/google.rpc."
_SERVICE = "generativelanguage.googleapis.com"
_HELP: JsonObject = {
    "@type": _TYPE_PREFIX + "Help",
    "links": [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ],
}
#: Google's message for an exceeded limit. Limits per minute, limits per day and limits of 0 have the same message and
#: differ only in the error details.
_QUOTA_MESSAGE = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)
_QUOTA_IDS: dict[Metric, tuple[str, str]] = {
    "rpm": ("generate_content_free_tier_requests", "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
    "tpm": (
        "generate_content_free_tier_input_token_count",
        "GenerateContentInputTokensPerModelPerMinute-FreeTier",
    ),
    "rpd": ("generate_content_free_tier_requests", "GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
}
_KEY_MESSAGES = {
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


def parse_request(body: JsonValue) -> ParsedRequest:
    """Parse a GenerateContentRequest.

    Raises BadRequestError if contents are missing, or if the schema or the thinking level is unsupported.
    """
    request = as_object(body)
    contents = as_list(request.get("contents"))
    if not contents:
        raise BadRequestError("* GenerateContentRequest.contents: contents is not specified")
    config = as_object(request.get("generationConfig") or request.get("generation_config"))
    system = request.get("systemInstruction") or request.get("system_instruction")
    messages = [as_object(content) for content in ([system] if system else []) + contents]
    parts = [as_object(part) for message in messages for part in as_list(message.get("parts"))]
    schema = config.get("responseSchema") or config.get("responseJsonSchema") or config.get("_responseJsonSchema")
    if schema and not isinstance(schema, dict):
        raise BadRequestError("* GenerateContentRequest.generation_config.response_schema: must be an object")
    if (config.get("responseMimeType") or "text/plain") == "application/json":
        schema = schema or {"type": "array"}
    elif schema:
        raise BadRequestError("response_schema is only supported with response_mime_type application/json")
    prompt = "\n".join(as_text(part.get("text")) for part in parts)
    return ParsedRequest(prompt, schema if isinstance(schema, dict) else None, _parse_options(config))


def _parse_options(config: JsonObject) -> GenerationOptions:
    """Read the options in a GenerationConfig. Like Google, accepts names in camelCase and in snake_case."""
    thinking = as_object(config.get("thinkingConfig") or config.get("thinking_config"))
    level = as_text(thinking.get("thinkingLevel") or thinking.get("thinking_level")).lower() or None
    if level is not None and level not in THINKING_SHARES:
        raise BadRequestError(f"Invalid value at 'generation_config.thinking_config.thinking_level': \"{level}\"")
    limit = as_number(config.get("maxOutputTokens") or config.get("max_output_tokens"))
    return GenerationOptions(as_number(config.get("temperature")), None if limit is None else int(limit), level)


def write_answer(completion: Completion, model: str) -> JsonObject:
    """Return the completion as a GenerateContentResponse. `model` is the model that answered."""
    answer: JsonObject = {"modelVersion": model, "responseId": completion.sha256[:22]}
    usage: JsonObject = {
        "promptTokenCount": completion.input_tokens,
        "totalTokenCount": completion.input_tokens + completion.output_tokens + completion.thought_tokens,
    }
    if completion.output_tokens:
        usage["candidatesTokenCount"] = completion.output_tokens
    if completion.thought_tokens:
        usage["thoughtsTokenCount"] = completion.thought_tokens
    answer["usageMetadata"] = usage
    reason = completion.finish_reason
    match reason:
        case "PROHIBITED_CONTENT":
            answer["promptFeedback"] = {"blockReason": reason}
        case "EMPTY":
            answer["candidates"] = [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]
        case "SAFETY" | "RECITATION":
            answer["candidates"] = [{"finishReason": reason, "index": 0}]
        case _:
            content: JsonObject = {"parts": [{"text": completion.text}], "role": "model"}
            answer["candidates"] = [{"content": content, "finishReason": reason, "index": 0}]
    return answer


def write_refusal(refusal: RequestRefusedError) -> tuple[int, JsonObject]:
    """Return the status and body of an error response.

    Status 502 and dropped connections have no JSON body; app.py handles both.
    """
    match refusal:
        case KeyRefusedError(state="invalid"):
            message = "API key not valid. Please pass a valid API key."
            return 400, _error(400, message, "INVALID_ARGUMENT", [_error_info("API_KEY_INVALID")])
        case KeyRefusedError(state=state, project=project):
            info = [_error_info(_KEY_REASONS[state], project)] if state in _KEY_REASONS else []
            return 403, _error(403, _KEY_MESSAGES[state], "PERMISSION_DENIED", info)
        case ModelNotFoundError(model=model, method=method):
            message = (
                f"models/{model} is not found for API version v1beta, or is not supported for {method}. Call "
                "ListModels to see the list of available models and their supported methods."
            )
            return 404, _error(404, message, "NOT_FOUND")
        case QuotaExceededError():
            return 429, _quota_error(refusal)
        case ServerFaultError(fault="503"):
            return 503, _error(503, "The model is overloaded. Please try again later.", "UNAVAILABLE")
        case ServerFaultError():
            message = "An internal error has occurred. Please retry or report in https://ai.google.dev/troubleshooting"
            return 500, _error(500, message, "INTERNAL")
        case _:
            return 400, _error(400, str(refusal), "INVALID_ARGUMENT")


def write_not_found(subject: str) -> JsonObject:
    """Return the body of a response with status 404."""
    return _error(404, f"{subject} is not found for API version v1beta, or is not supported.", "NOT_FOUND")


def write_model(model: str) -> JsonObject:
    """Return a description of the model: the response body for GET /v1beta/models/MODEL."""
    return {
        "name": f"models/{model}",
        "version": "001",
        "displayName": model,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "countTokens", "batchGenerateContent"],
    }


def write_token_count(body: JsonValue) -> JsonObject:
    """Return a CountTokensResponse. `body` contains either `contents` or a complete `generateContentRequest`."""
    counted = body.get("generateContentRequest", body) if isinstance(body, dict) else body
    return {"totalTokens": count_tokens(parse_request(counted).prompt)}


def _quota_error(refusal: QuotaExceededError) -> JsonObject:
    if refusal.bare:
        return _error(429, "Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED")
    failure: JsonObject = {
        "@type": _TYPE_PREFIX + "QuotaFailure",
        "violations": [_violation(violation, refusal.model) for violation in refusal.violations],
    }
    delay = f"{refusal.retry_s:.9f}".rstrip("0").rstrip(".") + "s"
    retry: JsonObject = {"@type": _TYPE_PREFIX + "RetryInfo", "retryDelay": delay}
    return _error(429, _QUOTA_MESSAGE, "RESOURCE_EXHAUSTED", [failure, _HELP, retry])


def _violation(violation: QuotaViolation, model: str) -> JsonObject:
    metric, quota_id = _QUOTA_IDS[violation.metric]
    entry: JsonObject = {
        "quotaMetric": f"{_SERVICE}/{metric}",
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": model},
    }
    # proto3 omits zeros, so a limit of 0 is sent as a violation without a quotaValue.
    return {**entry, "quotaValue": str(violation.limit)} if violation.limit else entry


def _error_info(reason: str, project: str = "") -> JsonObject:
    metadata: JsonObject = {"service": _SERVICE, **({"consumer": f"projects/{project}"} if project else {})}
    return {"@type": _TYPE_PREFIX + "ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def _error(code: int, message: str, status: str, details: Sequence[JsonObject] = ()) -> JsonObject:
    error: JsonObject = {"code": code, "message": message, "status": status}
    return {"error": {**error, "details": list(details)} if details else error}
