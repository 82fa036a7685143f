"""HTTP clients for teachers, the judge, the server backend of the evaluation, and embeddings.

The clients manage connection pools, TLS and timeouts, remove secrets from messages, and convert failures to the errors
that `Client.error` lists. httpx is imported when the first client is created, so that importing this module is fast.
"""

from __future__ import annotations

import asyncio
import functools
import math
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydantic import JsonValue, SecretStr

from insurance_rag.core.errors import (
    InvalidInputError,
    InvalidRequestError,
    KeyRejectedError,
    PipelineError,
    RateLimitError,
    ServerUnavailableError,
)
from insurance_rag.llm.json_values import as_dict, as_text

if TYPE_CHECKING:
    import httpx

MAX_MESSAGE_CHARACTERS = 300
"""Length at which messages from a server are truncated."""
MAX_CONNECT_S = 10.0
STEP_S = 1.0
"""Length of the steps in which the timeout of an asynchronous call is counted."""
LAST_STEP_S = 0.25
MAX_RETRY_WAIT_S = 20.0
"""Longest backoff in `Client.call`, unless the server requests a longer wait."""
MAX_RETRY_AFTER_S = 60.0
"""Longest `Retry-After` that `Client.call` honors. It equals the window of a per-minute quota."""


@dataclass(frozen=True)
class Response:
    """An HTTP response."""

    status: int
    body: JsonValue
    """Decoded JSON content; None if the content is not JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Response headers with lowercase names."""


@dataclass(frozen=True)
class Completion:
    """Text and token counts from a language model. The counts are 0 if the server does not report them."""

    text: str
    tokens_in: int
    tokens_out: int
    model: str = ""
    """Model that answered, as reported by the server; empty if it is not reported."""
    is_cut: bool = False
    """Whether the token limit ended the text."""


class _BaseClient:
    """Holds the server's address and key, and converts failures to errors. Subclasses add the connection."""

    def __init__(self, base_url: str, key: SecretStr, where: str) -> None:
        """Store the address and the key. `where` names the address setting in error messages, e.g. `--base-url`.

        Raises InvalidInputError if the address is not an HTTP URL.
        """
        if not re.match(r"https?://[^/]", base_url):
            raise InvalidInputError(f"{where} {base_url!r}: not an address; use http://HOST[:PORT] or https://HOST")
        self.base_url = base_url.rstrip("/")
        self._secret = key.get_secret_value()
        self._where = where

    def scrub(self, text: object) -> str:
        """Return `text` truncated and on one line, with the key replaced by `***`."""
        line = " ".join(str(text).split())
        return (line.replace(self._secret, "***") if self._secret else line)[:MAX_MESSAGE_CHARACTERS]

    def error(self, response: Response, message: str = "") -> PipelineError:
        """Return the error that corresponds to a response's status. The status must not be 200.

        - 401, 402 (no credit), 403: KeyRejectedError
        - 400, 413, 422: InvalidRequestError (the content of this request is invalid)
        - 404, redirects and other client errors: InvalidInputError (the address, model name or settings are invalid)
        - 429: RateLimitError with the seconds from `Retry-After`
        - 408, 5xx and unexpected success codes: ServerUnavailableError

        `message` defaults to the error message in the response body.
        """
        status = response.status
        text = self.scrub(message or error_message(response.body) or f"HTTP {status}")
        if status == 429:
            return RateLimitError(
                f"{self.base_url} limits the rate ({status}): {text}", retry_after_s(response.headers)
            )
        if status in {401, 402, 403}:
            advice = "add credit, or replace the key" if status == 402 else "replace the key"
            return KeyRejectedError(f"{self.base_url} rejects the key ({status}): {text}; {advice}")
        if status in {400, 413, 422}:
            return InvalidRequestError(f"{self.base_url} rejects the request ({status}): {text}")
        if status == 408 or status >= 500 or status < 300:
            return ServerUnavailableError(f"{self.base_url} failed ({status}): {text}")
        if status == 404:
            return InvalidInputError(
                f"{self.base_url}: no such model or address ({text}); check the model name and {self._where}"
            )
        if status < 400:
            return InvalidInputError(
                f"{self.base_url} answers {status}, a redirection; set {self._where} to the address it leads to"
            )
        return InvalidInputError(f"{self.base_url} answers {status} ({text}); check {self._where} and the settings")

    def invalid_body(self) -> ServerUnavailableError:
        """Return the error for a response with status 200 that is not a JSON object, such as a proxy's error page."""
        return ServerUnavailableError(f"{self.base_url}: the response is not a JSON object")

    def _connection_error(self, error: Exception) -> PipelineError:
        """Return the error that corresponds to an httpx error.

        The caller must not chain the returned error to the httpx error, because the httpx error contains the key.
        """
        import httpx

        if isinstance(error, httpx.InvalidURL):
            return InvalidInputError(
                f"{self._where} {self.base_url!r}: {error}; use http://HOST[:PORT] or https://HOST"
            )
        name = f"{type(error).__name__} {self.scrub(error)}".strip()
        return ServerUnavailableError(f"{self.base_url}: {name}; is the server running?")


class AsyncClient(_BaseClient):
    """Asynchronous client with an unlimited number of keep-alive connections. The caller limits the calls in flight."""

    def __init__(
        self, base_url: str, key: SecretStr, headers: Mapping[str, str], timeout_s: float, where: str = "--base-url"
    ) -> None:
        """Raises InvalidInputError if `base_url` is not an HTTP URL."""
        import httpx

        super().__init__(base_url, key, where)
        self._timeout_s = timeout_s
        timeout = httpx.Timeout(None, connect=min(timeout_s, MAX_CONNECT_S))
        self._client = httpx.AsyncClient(
            headers=dict(headers), limits=_limits(), timeout=timeout, verify=_verify(base_url)
        )

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that are sent with every request."""
        return self._client.headers

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def request(self, method: str, path: str, body: JsonValue = None, timeout_s: float | None = None) -> Response:
        """Send one request and return its response, even if its status indicates an error.

        `timeout_s` replaces the client's timeout, which limits the time until the response is complete. While this
        process is stopped (SIGSTOP, a suspended machine), the time does not count, so that a response that arrives
        meanwhile is used. Raises ServerUnavailableError if no response arrives, and InvalidInputError if the address is
        invalid.
        """
        import httpx

        sending = asyncio.ensure_future(self._client.request(method, self.base_url + path, json=body))
        try:
            await _wait_while_running(sending, timeout_s or self._timeout_s)
            if not sending.done():
                raise httpx.ReadTimeout("")
            return _decode(sending.result())
        except (httpx.RequestError, httpx.InvalidURL) as e:
            error = self._connection_error(e)
        finally:
            await _cancel(sending)
        raise error


class Client(_BaseClient):
    """Blocking client, which several threads can share."""

    def __init__(
        self, base_url: str, key: SecretStr, headers: Mapping[str, str], timeout_s: float, where: str = "--base-url"
    ) -> None:
        """Raises InvalidInputError if `base_url` is not an HTTP URL."""
        import httpx

        super().__init__(base_url, key, where)
        self._client = httpx.Client(
            headers=dict(headers), limits=_limits(), timeout=_timeout(timeout_s), verify=_verify(base_url)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(self, method: str, path: str, body: JsonValue = None) -> Response:
        """Send one request and return its response, even if its status indicates an error.

        Raises ServerUnavailableError if no response arrives, and InvalidInputError if the address is invalid.
        """
        import httpx

        try:
            return _decode(self._client.request(method, self.base_url + path, json=body))
        except (httpx.RequestError, httpx.InvalidURL) as e:
            error = self._connection_error(e)
        raise error

    def call(self, method: str, path: str, body: JsonValue = None, attempts: int = 1) -> dict[str, JsonValue]:
        """Send a request and return the JSON object in the response.

        After a temporary failure or a 429, the request is sent again, up to `attempts` times in total. If the last
        attempt fails too, raises its error.
        """
        import tenacity

        backoff = tenacity.wait_random_exponential(1, MAX_RETRY_WAIT_S)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            requested = error.retry_after_s if isinstance(error, RateLimitError) else None
            return max(backoff(state), min(requested or 0.0, MAX_RETRY_AFTER_S))

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((ServerUnavailableError, RateLimitError)),
            stop=tenacity.stop_after_attempt(attempts),
            wait=wait,
            reraise=True,
        )
        return retrying(self._call_once, method, path, body)

    def _call_once(self, method: str, path: str, body: JsonValue) -> dict[str, JsonValue]:
        response = self.request(method, path, body)
        if response.status != 200:
            raise self.error(response)
        if not isinstance(response.body, dict):
            raise self.invalid_body()
        return response.body


def error_message(body: JsonValue) -> str:
    """Return `error.message` from a response body (OpenAI, Gemini), else `message` (vLLM), else an empty string."""
    fields = as_dict(body)
    return as_text(as_dict(fields.get("error")).get("message")) or as_text(fields.get("message"))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in a `Retry-After` header; None if the header is absent or contains a date."""
    wait = headers.get("retry-after", "")
    return float(wait) if wait.replace(".", "", 1).isdecimal() else None


async def _wait_while_running(task: asyncio.Future[httpx.Response], timeout_s: float) -> None:
    """Wait until `task` is done, or for `timeout_s` seconds during which this process was not stopped.

    The time is counted in steps. A step during which the process was stopped counts with its planned length. After the
    last step, a response that has already arrived is still read.
    """
    steps = math.ceil(timeout_s / STEP_S)
    for step_s in (*[timeout_s / steps] * steps, LAST_STEP_S):
        await asyncio.wait([task], timeout=step_s)
        if task.done():
            return


async def _cancel(task: asyncio.Future[httpx.Response]) -> None:
    """Cancel `task` if it is not done, and wait until it has closed its connection."""
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # otherwise asyncio logs that nobody has read it


def _limits() -> httpx.Limits:
    import httpx

    return httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60)


def _timeout(timeout_s: float) -> httpx.Timeout:
    import httpx

    return httpx.Timeout(timeout_s, connect=min(timeout_s, MAX_CONNECT_S))


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the TLS context that all clients in this process share. Creating one takes 40 ms and 5 MB."""
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def _verify(base_url: str) -> ssl.SSLContext | bool:
    return _tls() if base_url.startswith("https") else False


def _decode(response: httpx.Response) -> Response:
    try:
        body = response.json()
    except (ValueError, RecursionError):  # not JSON, not UTF-8, a number that is too long, or nested too deeply
        body = None
    return Response(response.status_code, body, response.headers)
