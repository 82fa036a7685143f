"""The OpenAI-compatible chat completion, in front of the same keys, quotas, faults and answers."""

from __future__ import annotations

import hashlib
import math
import time
from typing import Any

from gemini_simulator.parsed_request import Wish
from gemini_simulator.service import BadRequest, KeyRefused, QuotaBroken, Reply, RequestRefused, ServerFault

Json = dict[str, Any]

_FINISH = {"STOP": "stop", "EMPTY": "stop", "MAX_TOKENS": "length"}


def read_request(body: Any) -> Wish:
    """The wish in a chat completion request; BadRequest where it has no messages."""
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        raise BadRequest("Missing required parameter: 'messages'.")
    form = body.get("response_format") or {}
    schema = {"type": "array"} if form.get("type") == "json_object" else None
    if form.get("type") == "json_schema":
        schema = form.get("json_schema", {}).get("schema")
        if not schema:
            raise BadRequest("Missing required parameter: 'response_format.json_schema.schema'.")
    return Wish("\n".join(_text(message.get("content")) for message in body["messages"]), schema)


def write_reply(reply: Reply, model: str) -> Json:
    return {
        "id": f"chatcmpl-{hashlib.sha256(repr(reply).encode()).hexdigest()[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": reply.text or ""},
                "finish_reason": _FINISH.get(reply.finish, "content_filter"),
            }
        ],
        "usage": {
            "prompt_tokens": reply.tokens_in,
            "completion_tokens": reply.tokens_out,
            "total_tokens": reply.tokens_in + reply.tokens_out,
        },
    }


def write_refusal(refusal: RequestRefused) -> tuple[int, Json, dict[str, str]]:
    """Status, body and headers; unlike Gemini these APIs name the delay in a header."""
    match refusal:
        case KeyRefused(state="missing" | "invalid"):
            return 401, _error("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"), {}
        case KeyRefused():
            return 403, _error("This API key may not be used.", "invalid_request_error", "key_disabled"), {}
        case QuotaBroken(violations=violations):
            if any(v.metric == "rpd" for v in violations):
                message = "You exceeded your current quota, please check your plan and billing details."
                return 429, _error(message, "insufficient_quota", "insufficient_quota"), {}
            kind = "tokens" if violations[0].metric == "tpm" else "requests"
            headers = {
                "retry-after": str(math.ceil(refusal.retry_s)),
                "retry-after-ms": str(math.ceil(refusal.retry_s * 1000)),
                f"x-ratelimit-limit-{kind}": str(violations[0].limit),
                f"x-ratelimit-remaining-{kind}": "0",
            }
            message = f"Rate limit reached for {refusal.model} on {kind} per min."
            return 429, _error(message, kind, "rate_limit_exceeded"), {} if refusal.bare else headers
        case ServerFault(kind="503"):
            return 503, _error("The engine is currently overloaded.", "server_error", None), {}
        case ServerFault():
            return 500, _error("The server had an error while processing your request.", "server_error", None), {}
        case _:
            return 400, _error(str(refusal), "invalid_request_error", None), {}


def _text(content: Any) -> str:
    """A message's content is a string, or a list of parts."""
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def _error(message: str, kind: str, code: str | None) -> Json:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
