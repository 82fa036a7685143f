"""Chat completions and embeddings from servers with OpenAI's API: vLLM, Ollama, llama.cpp and OpenAI itself."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue, SecretStr

from insurance_rag.core.errors import (
    BlockedAnswerError,
    InvalidAnswerError,
    PipelineError,
    QuotaExhaustedError,
    ServerUnavailableError,
)
from insurance_rag.llm.client import AsyncClient, Client, Completion, Response, error_message
from insurance_rag.llm.json_values import as_dict, as_int, as_list, as_text

EMBEDDING_BATCH = 64
"""Maximum number of texts per embedding request."""


def bearer(key: SecretStr) -> dict[str, str]:
    """Return the authorization header.

    If the key is empty, return no header. Self-hosted servers often need no key.
    """
    secret = key.get_secret_value()
    return {"authorization": f"Bearer {secret}"} if secret else {}


def chat_body(
    model: str, prompt: str, temperature: float, response_format: dict[str, JsonValue]
) -> dict[str, JsonValue]:
    """Return the body of a chat completion request with one user message."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": temperature,
        "response_format": response_format,
    }


def message_text(body: dict[str, JsonValue]) -> str:
    """Return the text from a chat completion, even if it is truncated; an empty string if there is none."""
    choices = as_list(body.get("choices"))
    return as_text(as_dict(as_dict(choices[0]).get("message")).get("content")) if choices else ""


def read_usage(body: dict[str, JsonValue]) -> tuple[int, int]:
    """Return the numbers of input and output tokens."""
    usage = as_dict(body.get("usage"))
    return as_int(usage.get("prompt_tokens")), as_int(usage.get("completion_tokens"))


def read_completion(body: dict[str, JsonValue]) -> Completion:
    """Return the text, the token counts and the model from a chat completion.

    A text that the token limit ended is returned with `is_cut`. Raises BlockedAnswerError if a content filter stopped
    the completion, and InvalidAnswerError if the completion is missing. Both errors carry token counts.
    """
    tokens = read_usage(body)
    choices = as_list(body.get("choices"))
    finish = (as_text(as_dict(choices[0]).get("finish_reason")) or "stop") if choices else ""
    text = message_text(body)
    error: InvalidAnswerError | BlockedAnswerError | None = None
    if not choices:
        error = InvalidAnswerError("the answer contains no choices")
    elif finish == "content_filter":
        error = BlockedAnswerError("answer blocked: content_filter")
    elif finish != "stop" and not (finish == "length" and text):
        error = InvalidAnswerError(f"the answer is incomplete (finish_reason {finish})")
    if error:
        error.tokens = tokens
        raise error
    return Completion(text, *tokens, model=as_text(body.get("model")), is_cut=finish == "length")


def read_error(client: AsyncClient | Client, response: Response) -> PipelineError:
    """Return the error for a response whose status is not 200.

    The error is QuotaExhaustedError if all credit is used up, else the result of `client.error`.
    """
    code = as_dict(as_dict(response.body).get("error")).get("code")
    if response.status == 429 and code == "insufficient_quota":
        text = client.scrub(error_message(response.body) or code)
        return QuotaExhaustedError(
            f"{client.base_url}: no credit left ({text}); add credit, then run the same command again"
        )
    return client.error(response)


def embed(client: Client, model: str, texts: Sequence[str]) -> list[list[float]]:
    """Return one embedding per text, in the order of `texts`. The address of `client` must include the API's `/v1`.

    Raises ServerUnavailableError if a response does not contain one vector per text.
    """
    vectors: list[list[float]] = []
    for start in range(0, len(texts), EMBEDDING_BATCH):
        batch: list[JsonValue] = list(texts[start : start + EMBEDDING_BATCH])
        body = client.call("POST", "/embeddings", {"model": model, "input": batch})
        rows = sorted((as_dict(row) for row in as_list(body.get("data"))), key=lambda row: as_int(row.get("index")))
        found = [[float(x) for x in as_list(row.get("embedding")) if isinstance(x, (int, float))] for row in rows]
        if len(found) != len(batch) or not all(found):
            count = sum(map(bool, found))
            raise ServerUnavailableError(f"{client.base_url}: the response holds {count} of {len(batch)} embeddings")
        vectors += found
    return vectors
