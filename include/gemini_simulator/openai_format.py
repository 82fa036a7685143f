"""The OpenAI-compatible chat completion format. Keys, quotas, faults and answers are shared with the Gemini format."""

from __future__ import annotations

import math
import time

from pydantic import JsonValue

from gemini_simulator.completion import Completion
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

#: Finish reason of a Completion -> OpenAI's finish reason. All other reasons (blocked answers) become content_filter.
_FINISH_REASONS = {"STOP": "stop", "EMPTY": "stop", "MAX_TOKENS": "length"}


def parse_request(body: JsonValue) -> ParsedRequest:
    """Parse a chat completion request.

    Raises BadRequestError if the messages are missing, or if the response format is `json_schema` without a schema.
    """
    request = as_object(body)
    messages = as_list(request.get("messages"))
    if not messages:
        raise BadRequestError("Missing required parameter: 'messages'.")
    response_format = as_object(request.get("response_format"))
    schema: JsonObject | None = {"type": "array"} if response_format.get("type") == "json_object" else None
    if response_format.get("type") == "json_schema":
        schema = as_object(as_object(response_format.get("json_schema")).get("schema"))
        if not schema:
            raise BadRequestError("Missing required parameter: 'response_format.json_schema.schema'.")
    prompt = "\n".join(_text(as_object(message).get("content")) for message in messages)
    limit = as_number(request.get("max_completion_tokens") or request.get("max_tokens"))
    options = GenerationOptions(as_number(request.get("temperature")), None if limit is None else int(limit))
    return ParsedRequest(prompt, schema, options)


def write_answer(completion: Completion, model: str) -> JsonObject:
    """Return the completion in OpenAI's chat completion format. `model` is the model that answered."""
    return {
        "id": f"chatcmpl-{completion.sha256[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": completion.text or ""},
                "finish_reason": _FINISH_REASONS.get(completion.finish_reason, "content_filter"),
            }
        ],
        "usage": {
            "prompt_tokens": completion.input_tokens,
            "completion_tokens": completion.output_tokens,
            "total_tokens": completion.input_tokens + completion.output_tokens,
        },
    }


def write_refusal(refusal: RequestRefusedError) -> tuple[int, JsonObject, dict[str, str]]:
    """Return the status, body and headers of an error response. OpenAI reports the retry delay in a header."""
    match refusal:
        case KeyRefusedError(state="missing" | "invalid"):
            return 401, _error("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"), {}
        case KeyRefusedError():
            return 403, _error("This API key may not be used.", "invalid_request_error", "key_disabled"), {}
        case ModelNotFoundError(model=model):
            return 404, _error(f"The model '{model}' does not exist.", "invalid_request_error", "model_not_found"), {}
        case QuotaExceededError():
            return _quota_refusal(refusal)
        case ServerFaultError(fault="503"):
            return 503, _error("The engine is currently overloaded.", "server_error", None), {}
        case ServerFaultError():
            return 500, _error("The server had an error while processing your request.", "server_error", None), {}
        case _:
            return 400, _error(str(refusal), "invalid_request_error", None), {}


def _quota_refusal(refusal: QuotaExceededError) -> tuple[int, JsonObject, dict[str, str]]:
    first = refusal.violations[0]
    if any(violation.metric == "rpd" for violation in refusal.violations):
        message = "You exceeded your current quota, please check your plan and billing details."
        return 429, _error(message, "insufficient_quota", "insufficient_quota"), {}
    kind = "tokens" if first.metric == "tpm" else "requests"
    headers = {
        "retry-after": str(math.ceil(refusal.retry_s)),
        "retry-after-ms": str(math.ceil(refusal.retry_s * 1000)),
        f"x-ratelimit-limit-{kind}": str(first.limit),
        f"x-ratelimit-remaining-{kind}": "0",
    }
    message = f"Rate limit reached for {refusal.model} on {kind} per min."
    return 429, _error(message, kind, "rate_limit_exceeded"), {} if refusal.bare else headers


def _text(content: JsonValue) -> str:
    """Return the text of a message. `content` is a string or a list of parts."""
    if isinstance(content, list):
        return "\n".join(as_text(as_object(part).get("text")) for part in content)
    return as_text(content)


def _error(message: str, kind: str, code: str | None) -> JsonObject:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
