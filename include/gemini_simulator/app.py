"""HTTP routes of the simulator. Errors are written in the format of the API that the request uses."""

from __future__ import annotations

import asyncio
import json

from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gemini_simulator import gemini_format as gemini
from gemini_simulator import openai_format as openai
from gemini_simulator.batch import BatchService
from gemini_simulator.config import SimulatorConfig
from gemini_simulator.errors import BadRequestError, RequestRefusedError, ServerFaultError
from gemini_simulator.json_types import JsonObject, as_object
from gemini_simulator.service import Service
from gemini_simulator.stats import summarize_requests


class SimulatorApi:
    """HTTP endpoints of one simulator."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.service = Service(config)
        self.batches = BatchService(self.service)

    async def call_model(self, request: Request) -> Response:
        """Handle POST models/MODEL:METHOD."""
        model, _, method = request.path_params["target"].rpartition(":")
        key, body = _key(request), await _body(request)
        match method:
            case "generateContent":
                completion = await self.service.complete(key, model, gemini.parse_request(body))
                return JSONResponse(gemini.write_answer(completion, self.service.answering_model(model)))
            case "countTokens":
                self.service.check_key(key)
                self.service.answering_model(model, method)
                return JSONResponse(gemini.write_token_count(body))
            case "batchGenerateContent":
                return JSONResponse(self.batches.submit(key, model, body))
            case _:
                return JSONResponse(gemini.write_not_found(f"Method {method}"), 404)

    async def get_model(self, request: Request) -> Response:
        """Handle GET models/MODEL."""
        self.service.check_key(_key(request))
        model = request.path_params["model"]
        self.service.answering_model(model)
        return JSONResponse(gemini.write_model(model))

    async def list_models(self, request: Request) -> Response:
        """Handle GET models.

        The Gemini API and the OpenAI API share the path /v1/models. Only OpenAI's clients send an Authorization header,
        so a request with this header gets a response in OpenAI's format.
        """
        self.service.check_key(_key(request))
        models = self.service.listed_models
        if "authorization" in request.headers:
            return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in models]})
        return JSONResponse({"models": [gemini.write_model(name) for name in models]})

    async def list_batches(self, request: Request) -> Response:
        """Handle GET batches."""
        return JSONResponse({"operations": self.batches.list_operations(_key(request))})

    async def get_batch(self, request: Request) -> Response:
        """Handle GET batches/NAME."""
        return _batch_response(self.batches.get(_key(request), _batch_name(request)))

    async def delete_batch(self, request: Request) -> Response:
        """Handle DELETE batches/NAME."""
        return _batch_response(self.batches.delete(_key(request), _batch_name(request)))

    async def cancel_batch(self, request: Request) -> Response:
        """Handle POST batches/NAME:cancel."""
        return _batch_response(self.batches.cancel(_key(request), _batch_name(request)))

    async def chat(self, request: Request) -> Response:
        """Handle POST chat/completions."""
        body = await _body(request)
        parsed = openai.parse_request(body)
        model = str(as_object(body).get("model", ""))
        completion = await self.service.complete(_key(request), model, parsed)
        return JSONResponse(openai.write_answer(completion, self.service.answering_model(model)))

    async def stats(self, request: Request) -> Response:
        """Handle GET /stats: return a stats.SimulatorStats that summarizes all requests so far."""
        return JSONResponse(summarize_requests(self.service))

    async def ground_truth(self, request: Request) -> Response:
        """Handle GET /ground_truth: return one pairs.GroundTruth for each pair that the simulator has sent."""
        return JSONResponse(list(self.service.ground_truth.values()))


def make_app(config: SimulatorConfig) -> Starlette:
    """Create the application and a new Service. The service is available as `app.state.service`."""
    api = SimulatorApi(config)
    google = "/{version:str}"  # accept any version: the official client has changed its default version before
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", api.chat, methods=["POST"]),
            Route("/v1beta/openai/chat/completions", api.chat, methods=["POST"]),
            Route(google + "/models", api.list_models),
            Route(google + "/models/{model}", api.get_model),
            Route(google + "/models/{target:path}", api.call_model, methods=["POST"]),
            Route(google + "/batches", api.list_batches),
            Route(google + "/batches/{name}", api.get_batch),
            Route(google + "/batches/{name}", api.delete_batch, methods=["DELETE"]),
            Route(google + "/batches/{name}:cancel", api.cancel_batch, methods=["POST"]),
            Route("/stats", api.stats),
            Route("/ground_truth", api.ground_truth),
        ],
        exception_handlers={RequestRefusedError: _refuse},
    )
    app.state.service = api.service
    return app


class DroppedConnection(Response):
    """Resets the connection instead of sending a response. Requires server.AbortableProtocol."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reset the connection, then let Starlette finish the request."""
        scope["extensions"]["abort"]()
        await asyncio.sleep(0)  # let the event loop report the lost connection first
        await super().__call__(scope, receive, send)


async def _refuse(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, RequestRefusedError)
    if isinstance(refusal, ServerFaultError) and refusal.fault == "drop":
        return DroppedConnection()
    if isinstance(refusal, ServerFaultError) and refusal.fault == "502":
        return HTMLResponse(gemini.BAD_GATEWAY, 502)
    if request.url.path.endswith("/chat/completions"):
        status, body, headers = openai.write_refusal(refusal)
        return JSONResponse(body, status, headers)
    status, body = gemini.write_refusal(refusal)
    return JSONResponse(body, status)


def _batch_name(request: Request) -> str:
    return f"batches/{request.path_params['name']}"


def _batch_response(body: JsonObject | None) -> Response:
    """Return a response with `body`. If `body` is None, the batch does not exist, and the status is 404."""
    return JSONResponse(gemini.write_not_found("The batch"), 404) if body is None else JSONResponse(body)


def _key(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return request.headers.get("x-goog-api-key") or (token if scheme.lower() == "bearer" else None)


async def _body(request: Request) -> JsonValue:
    try:
        body: JsonValue = json.loads(await request.body())
    except ValueError as e:
        raise BadRequestError("Invalid JSON payload received.") from e
    return body
