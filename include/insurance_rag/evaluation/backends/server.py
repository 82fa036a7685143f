"""Generate answers on an OpenAI-compatible server, such as vLLM with LoRA modules.

Prompts in chat formats go to /chat/completions, where the server applies the chat template of the base model. All other
prompts go to /completions.

Start the server so that every model has the same name as in the evaluation, for example:

vllm serve BASE --served-model-name Base --enable-lora --lora-modules v1=DIR v2=DIR
insurance-rag evaluate ... --set server=http://127.0.0.1:8000/v1
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from types import TracebackType

from pydantic import JsonValue, SecretStr

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import IncompleteError, InvalidInputError, PipelineError, ServerUnavailableError
from insurance_rag.core.hashing import model_identity
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, read_messages
from insurance_rag.evaluation.backends.base import OnAnswer
from insurance_rag.evaluation.requests import BASE, GeneratedAnswer, GenerationRequest, check_prompt_penalty
from insurance_rag.llm import openai
from insurance_rag.llm.client import Client
from insurance_rag.llm.json_values import as_dict, as_int, as_list, as_text
from insurance_rag.models.chat_template import TEMPLATE_VARIABLES

TIMEOUT_S = 600.0
ATTEMPTS = 5
MAX_STOP_STRINGS = 4
"""Maximum number of stop strings that OpenAI's API accepts in a request."""
DEFAULT_CONTEXT_TOKENS = 4096
"""Context length that is assumed if the server does not report one for a model."""
CHARACTERS_PER_TOKEN = 1.0
"""Lower bound for Korean text, used to estimate prompt lengths. The server's tokenizer is not available."""


class ServerBackend:
    """Sends up to `server_concurrency` requests in parallel, so that the server can batch them."""

    def __init__(
        self,
        base_model: str,
        adapters: Mapping[str, Path],
        config: EvaluationConfig,
        models: Sequence[str] | None = None,
    ) -> None:
        """Connect to the server and check that it lists `models`: by default `Base` and the names of all adapters.

        A server that loads adapters on request lists them only later; give no `models` for such a server.
        Raises InvalidInputError if a model is not served, ServerUnavailableError if the server does not answer, and
        KeyRejectedError if the server rejects the key in EVALUATION_API_KEY.
        """
        assert config.server is not None
        key = SecretStr(os.environ.get("EVALUATION_API_KEY", ""))
        self._client = Client(config.server, key, openai.bearer(key), TIMEOUT_S, where="server")
        self._concurrency = config.server_concurrency
        models = [BASE, *adapters] if models is None else models
        context_tokens = self._served_models()
        if missing := [model for model in models if model not in context_tokens]:
            served = ", ".join(context_tokens) or "nothing"
            raise InvalidInputError(
                f"{config.server}: does not serve {', '.join(missing)}; it serves {served}; start it with the "
                "missing names"
            )
        self._context_limit = min((context_tokens[model] for model in models), default=DEFAULT_CONTEXT_TOKENS)
        # The server does not report which weights it loaded. The identities therefore describe the arguments
        # `base_model` and `adapters`. After an adapter is retrained, the server must reload it.
        base = f"{config.server} {model_identity(base_model)}"
        self._identities = {BASE: base} | {name: f"{base} {model_identity(str(d))}" for name, d in adapters.items()}

    def __enter__(self) -> ServerBackend:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._client.close()

    @property
    def identities(self) -> Mapping[str, str]:
        """For each model name, a string that identifies the server and the weights."""
        return self._identities

    @property
    def context_limit(self) -> int:
        """Maximum number of tokens in the prompt and the answer together, for the model with the shortest context."""
        return self._context_limit

    def count_tokens(self, prompt: str, prompt_format: str) -> int:
        """Return an upper bound for the number of tokens in a Korean prompt.

        In chat formats, a prompt is the JSON text of its messages, which is longer than what a chat template adds.
        """
        return int(len(prompt) / CHARACTERS_PER_TOKEN)

    def answer(self, requests: Sequence[GenerationRequest], decoding: DecodingConfig, on_answer: OnAnswer, /) -> None:
        """Answer all requests, in any order. Call `on_answer` for each answer as soon as it is finished.

        After the first error, no more requests are sent. Answers to requests that were already sent are still passed to
        `on_answer`.
        Raises InvalidInputError if the server rejects the settings, and IncompleteError for every other failure.
        """
        check_prompt_penalty("a server", decoding)
        try:
            self.send(requests, decoding, on_answer)
        except PipelineError as e:
            raise _with_advice(e) from e

    def send(self, requests: Sequence[GenerationRequest], decoding: DecodingConfig, on_answer: OnAnswer) -> None:
        """Do the same as `answer`, but raise the errors of the client."""
        with ThreadPoolExecutor(self._concurrency) as pool:
            waiting: dict[Future[GeneratedAnswer], GenerationRequest] = {
                pool.submit(self._complete, request, decoding): request for request in requests
            }
            error: BaseException | None = None
            for future in as_completed([*waiting]):
                if error := future.exception():
                    break
                on_answer(waiting.pop(future), future.result())
            if error is None:
                return
            # `as_completed` would wait forever for a canceled request, so only those that were sent are passed to it.
            for future in as_completed([future for future in waiting if not future.cancel()]):
                if future.exception() is None:
                    on_answer(waiting[future], future.result())
            raise error

    def _complete(self, request: GenerationRequest, decoding: DecodingConfig) -> GeneratedAnswer:
        is_chat = PROMPT_FORMATS[request.prompt_format].chat
        path = "/chat/completions" if is_chat else "/completions"
        started = time.perf_counter()
        body = self._client.call("POST", path, {**_prompt(request), **_settings(decoding)}, ATTEMPTS)
        seconds = round(time.perf_counter() - started, 4)
        choices = as_list(body.get("choices"))
        choice = as_dict(choices[0]) if choices else {}
        text = as_dict(choice.get("message")).get("content") if is_chat else choice.get("text")
        if not isinstance(text, str):
            raise ServerUnavailableError(f"{self._client.base_url}: the response contains no text")
        return GeneratedAnswer(text, openai.read_usage(body)[1], seconds)

    def _served_models(self) -> dict[str, int]:
        """Return the context length in tokens for each served model."""
        rows = [as_dict(row) for row in as_list(self._client.call("GET", "/models").get("data"))]
        return {as_text(row.get("id")): as_int(row.get("max_model_len")) or DEFAULT_CONTEXT_TOKENS for row in rows}


def _prompt(request: GenerationRequest) -> dict[str, JsonValue]:
    """Return the fields of a request's body that hold the model and its prompt."""
    if not PROMPT_FORMATS[request.prompt_format].chat:
        return {"model": request.model, "prompt": request.prompt}
    messages: list[JsonValue] = [
        {"role": message["role"], "content": message["content"]} for message in read_messages(request.prompt)
    ]
    return {"model": request.model, "messages": messages, "chat_template_kwargs": {**TEMPLATE_VARIABLES}}


def _settings(decoding: DecodingConfig) -> dict[str, JsonValue]:
    """Return the fields of a request's body that hold the decoding settings."""
    stop: list[JsonValue] = [*decoding.stop_strings[:MAX_STOP_STRINGS]]
    return {
        "max_tokens": decoding.max_new_tokens,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "repetition_penalty": decoding.repetition_penalty,
        "seed": decoding.seed,
        "stop": stop or None,
        "include_stop_str_in_output": True,
    }


def _with_advice(error: PipelineError) -> PipelineError:
    message = f"{error}; the answers received so far are kept; run the same command again"
    return error.fresh(message) if isinstance(error, (InvalidInputError, IncompleteError)) else IncompleteError(message)
