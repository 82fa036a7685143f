"""The routes: each request handed to the service or the batches, each refusal written the way its API writes it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gemini_simulator import gemini_format as gemini
from gemini_simulator import openai_format as openai
from gemini_simulator.batch import Batches
from gemini_simulator.config import SimulatorConfig
from gemini_simulator.service import BadRequest, RequestRefused, ServerFault, Service
from gemini_simulator.stats import summarise

MODELS = ("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro")


class Api:
    """The endpoints over one service."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.service = Service(config)
        self.batches = Batches(self.service)

    async def model_method(self, request: Request) -> Response:
        """POST models/MODEL:METHOD."""
        model, _, method = request.path_params["target"].rpartition(":")
        key, body = _key(request), await _body(request)
        match method:
            case "generateContent":
                reply = await self.service.ask(key, model, gemini.read_request(body))
                return JSONResponse(gemini.write_reply(reply, model))
            case "countTokens":
                self.service.check_key(key)
                return JSONResponse(gemini.token_count(body))
            case "batchGenerateContent":
                return JSONResponse(self.batches.submit(key, model, body))
            case _:
                return JSONResponse(gemini.not_found(f"Method {method}"), 404)

    async def get_model(self, request: Request) -> Response:
        self.service.check_key(_key(request))
        return JSONResponse(gemini.model_card(request.path_params["model"]))

    async def list_models(self, request: Request) -> Response:
        """Both APIs have GET /v1/models; OpenAI's clients are known by their bearer token."""
        self.service.check_key(_key(request))
        if "authorization" in request.headers:
            return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})
        return JSONResponse({"models": [gemini.model_card(name) for name in MODELS]})

    async def list_batches(self, request: Request) -> Response:
        return JSONResponse({"operations": self.batches.of_project(_key(request))})

    async def get_batch(self, request: Request) -> Response:
        return _found(self.batches.get(_key(request), f"batches/{request.path_params['name']}"))

    async def delete_batch(self, request: Request) -> Response:
        return _found(self.batches.delete(_key(request), f"batches/{request.path_params['name']}"))

    async def cancel_batch(self, request: Request) -> Response:
        return _found(self.batches.cancel(_key(request), f"batches/{request.path_params['name']}"))

    async def chat(self, request: Request) -> Response:
        body = await _body(request)
        wish = openai.read_request(body)
        model = str(body.get("model", ""))
        return JSONResponse(openai.write_reply(await self.service.ask(_key(request), model, wish), model))

    async def stats(self, request: Request) -> Response:
        return JSONResponse(summarise(self.service))

    async def truth(self, request: Request) -> Response:
        return JSONResponse(list(self.service.truth.values()))


def make_app(config: SimulatorConfig) -> Starlette:
    """The application with a fresh state; `app.state.service` holds it."""
    api = Api(config)
    google = "/{version:str}"  # v1, v1alpha, v1beta: the official client's default has changed before
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", api.chat, methods=["POST"]),
            Route("/v1beta/openai/chat/completions", api.chat, methods=["POST"]),
            Route(google + "/models", api.list_models),
            Route(google + "/models/{model}", api.get_model),
            Route(google + "/models/{target:path}", api.model_method, methods=["POST"]),
            Route(google + "/batches", api.list_batches),
            Route(google + "/batches/{name}", api.get_batch),
            Route(google + "/batches/{name}", api.delete_batch, methods=["DELETE"]),
            Route(google + "/batches/{name}:cancel", api.cancel_batch, methods=["POST"]),
            Route("/stats", api.stats),
            Route("/truth", api.truth),
        ],
        exception_handlers={RequestRefused: _refuse},
    )
    app.state.service = api.service
    return app


class Dropped(Response):
    """No answer: the connection is reset, by the means that server.AbortableProtocol gives."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["abort"]()
        await asyncio.sleep(0)  # the loss of the connection is noticed in the loop's next round
        await super().__call__(scope, receive, send)


async def _refuse(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, RequestRefused)
    if isinstance(refusal, ServerFault) and refusal.kind == "drop":
        return Dropped()
    if isinstance(refusal, ServerFault) and refusal.kind == "502":
        return HTMLResponse(gemini.BAD_GATEWAY, 502)
    if request.url.path.endswith("/chat/completions"):
        status, body, headers = openai.write_refusal(refusal)
        return JSONResponse(body, status, headers)
    status, body = gemini.write_refusal(refusal)
    return JSONResponse(body, status)


def _found(body: Any) -> Response:
    """`None` is what was looked for and is not there."""
    return JSONResponse(gemini.not_found("The batch"), 404) if body is None else JSONResponse(body)


def _key(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return request.headers.get("x-goog-api-key") or (token if scheme.lower() == "bearer" else None)


async def _body(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError as e:
        raise BadRequest("Invalid JSON payload received.") from e
