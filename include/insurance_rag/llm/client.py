"""What the HTTP teachers share: one connection pool, faults of the network by name, secrets kept out of messages."""

from __future__ import annotations

import functools
import json
import re
import ssl
from typing import Any

import certifi
import httpx

from insurance_rag.core.errors import BlockedAnswerError, InvalidInputError, KeyRejectedError, ServerUnavailableError
from insurance_rag.core.records import ApiKey

DETAIL = 300  # characters of a server's message that are kept


@functools.cache
def _tls() -> ssl.SSLContext:
    """One for all clients of a process: each costs 40 ms and 5 MB."""
    return ssl.create_default_context(cafile=certifi.where())


class InvalidRequestError(BlockedAnswerError):
    """The server finds fault with the request itself (400 and its kin): the clause is set aside."""


class Server:
    """A base URL, a key and a keep-alive pool."""

    def __init__(self, base_url: str, key: ApiKey, headers: dict[str, str], timeout_s: float) -> None:
        if not re.match(r"https?://[^/]", base_url):
            raise InvalidInputError(f"base_url {base_url!r}: want http://HOST[:PORT] or https://HOST")
        self.base_url = base_url.rstrip("/")
        self._key = key
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60)
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0))
        tls = _tls() if base_url.startswith("https") else False
        self._client = httpx.AsyncClient(headers=headers, limits=limits, timeout=timeout, verify=tls)

    async def close(self) -> None:
        await self._client.aclose()

    async def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any, httpx.Headers]:
        """Status, decoded JSON (None where the body is none) and headers. ServerUnavailableError where nothing came back."""
        try:
            answer = await self._client.request(method, self.base_url + path, json=body)
        except httpx.RequestError as e:
            # Not chained: the exception holds the request, and that the key.
            raise ServerUnavailableError(
                f"{type(e).__name__} {self.scrub(str(e))} at {self.base_url}".strip()
            ) from None
        except httpx.InvalidURL as e:
            raise InvalidInputError(f"base_url {self.base_url!r}: {e}") from None
        try:
            return answer.status_code, answer.json(), answer.headers
        except (json.JSONDecodeError, UnicodeDecodeError):
            return answer.status_code, None, answer.headers

    def scrub(self, text: Any) -> str:
        """A server's words, short and without the key."""
        words = " ".join(str(text).split())
        secret = self._key.key.get_secret_value()
        return (words.replace(secret, "***") if secret else words)[:DETAIL]

    def failure(self, status: int, message: str) -> Exception:
        """The error of a status that needs no further look into the body."""
        words = self.scrub(message)
        if status in {401, 402, 403}:  # 402: the account's balance
            return KeyRejectedError(f"{status}: {words}")
        if status == 404:
            return InvalidInputError(
                f"{self.base_url}: no such model or address ({words}); check --model and --base-url"
            )
        if 300 <= status < 400:
            return InvalidInputError(f"{self.base_url} answers {status}, a redirection; give the address it leads to")
        if status == 408 or status >= 500 or status < 400:
            return ServerUnavailableError(f"{status} from {self.base_url}: {words}")
        if status not in {400, 413, 422}:
            return InvalidInputError(
                f"{self.base_url} answers {status} ({words}); check --base-url and the teacher's settings"
            )
        return InvalidRequestError(f"{status}: {words}")
