"""One mapping of HTTP failures to errors, for every API and every caller."""

from __future__ import annotations

import asyncio
import time

import pytest
from pydantic import SecretStr
from tests.evaluation.openai_server import HttpResponse, serving

from insurance_rag.core.errors import (
    InvalidInputError,
    InvalidRequestError,
    KeyRejectedError,
    RateLimitError,
    ServerUnavailableError,
)
from insurance_rag.llm import gemini, openai
from insurance_rag.llm.client import AsyncClient, Client, Response

KEY = SecretStr("SECRET")
CLIENT = Client("http://x", KEY, {}, 1.0)
MEANINGS = [
    (302, InvalidInputError),
    (400, InvalidRequestError),
    (401, KeyRejectedError),
    (402, KeyRejectedError),
    (403, KeyRejectedError),
    (404, InvalidInputError),
    (408, ServerUnavailableError),
    (413, InvalidRequestError),
    (422, InvalidRequestError),
    (429, RateLimitError),
    (451, InvalidInputError),
    (500, ServerUnavailableError),
    (502, ServerUnavailableError),
    (503, ServerUnavailableError),
]


@pytest.mark.parametrize(("status", "kind"), MEANINGS)
@pytest.mark.parametrize("body", [None, "text", {"error": {"message": "key SECRET"}}, {"message": "key SECRET"}])
def test_a_status_has_one_meaning_everywhere(status: int, kind: type[Exception], body: str | dict[str, str]) -> None:
    response = Response(status, body)  # type: ignore[arg-type]  # a nested dict literal is JSON
    for error in (CLIENT.error(response), openai.read_error(CLIENT, response), gemini.read_error(CLIENT, response)):
        assert type(error) is kind
        assert "SECRET" not in str(error)


def test_both_clients_raise_the_same_errors() -> None:
    with serving(lambda *_: (401, {"error": {"message": "no"}})) as url:
        with Client(url, KEY, {}, 5) as client, pytest.raises(KeyRejectedError, match=r"rejects the key \(401\): no"):
            client.call("GET", "/models")

        async def request() -> Response:
            other = AsyncClient(url, KEY, {}, 5)
            response = await other.request("GET", "/models")
            await other.close()
            return response

        assert isinstance(CLIENT.error(asyncio.run(request())), KeyRejectedError)
    with Client(url, KEY, {}, 5) as client, pytest.raises(ServerUnavailableError, match="is the server running"):
        client.call("GET", "/models")


def test_call_retries_temporary_failures_and_429s(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    answers: list[HttpResponse] = [(503, ""), (429, {"error": {"message": "slow"}}), (200, "<html>"), (200, {"ok": 1})]
    with serving(lambda *_: answers.pop(0)) as url, Client(url, KEY, {}, 5) as client:
        assert client.call("GET", "/models", attempts=4) == {"ok": 1}
    assert len([wait for wait in waits if wait > 0]) >= 3


def test_call_does_not_retry_a_rejected_request() -> None:
    calls: list[str] = []

    def answer(path: str, _: object) -> HttpResponse:
        calls.append(path)
        return 400, {"error": {"message": "too long"}}

    with (
        serving(answer) as url,
        Client(url, KEY, {}, 5) as client,
        pytest.raises(InvalidRequestError, match="too long"),
    ):
        client.call("POST", "/completions", {}, attempts=5)
    assert len(calls) == 1


@pytest.mark.parametrize("address", ["", "127.0.0.1:9", "ftp://x", "http://"])
def test_address_must_be_an_http_url(address: str) -> None:
    with pytest.raises(InvalidInputError, match=r"judge .*: not an address"):
        Client(address, KEY, {}, 1.0, where="judge")


def test_embeddings_come_in_the_order_of_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "EMBEDDING_BATCH", 2)

    def answer(_: str, body: dict[str, list[str]]) -> HttpResponse:
        rows = [{"index": i, "embedding": [float(text), 1]} for i, text in enumerate(body["input"])]
        return 200, {"data": rows[::-1]}

    with serving(answer) as url, Client(url, KEY, {}, 5) as client:
        assert openai.embed(client, "m", ["1", "2", "3"]) == [[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]
    with (
        serving(lambda *_: (200, {"data": []})) as url,
        Client(url, KEY, {}, 5) as client,
        pytest.raises(ServerUnavailableError, match="holds 0 of 1 embeddings"),
    ):
        openai.embed(client, "m", ["1"])
