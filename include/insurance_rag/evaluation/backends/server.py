"""Answers from an OpenAI-compatible server (vLLM with its LoRA modules, for scale): models by their served names.

vllm serve BASE --served-model-name Base --enable-lora --lora-modules v1=DIR v2=DIR
insurance-rag evaluate ... --set server=http://127.0.0.1:8000/v1
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import IncompleteError, InvalidInputError, ServerUnavailableError
from insurance_rag.core.hashing import model_identity
from insurance_rag.evaluation.requests import BASE, GenerationRequest, Reply, check_prompt_penalty

#: Characters of Korean text in a token, at least: for fitting prompts where no tokenizer is at hand.
CHARACTERS_A_TOKEN = 1.0


class ServerBackend:
    """Same interface as LocalBackend; `server_concurrency` requests at a time, so that the server can batch them."""

    def __init__(self, base_model: str, adapters: Mapping[str, Path], config: EvaluationConfig) -> None:
        assert config.server is not None
        headers = {"Authorization": f"Bearer {os.environ.get('EVALUATION_API_KEY', 'none')}"}
        self.client = httpx.Client(base_url=config.server.rstrip("/"), headers=headers, timeout=600)
        self.url, self.concurrency = config.server, config.server_concurrency
        models = [BASE, *adapters]
        served = self._served()
        if missing := [model for model in models if model not in served]:
            raise InvalidInputError(
                f"{self.url}: does not serve {', '.join(missing)}; it serves {', '.join(served) or 'nothing'}"
            )
        self._limit = min(served[model] for model in models)
        # The server does not say which weights stand behind a name: a retrained adapter has to be reloaded there.
        base = f"{self.url} {model_identity(base_model)}"
        self.identities = {BASE: base} | {name: f"{base} {model_identity(str(d))}" for name, d in adapters.items()}

    def __enter__(self) -> ServerBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @property
    def context_limit(self) -> int:
        return self._limit

    def count_tokens(self, text: str) -> int:
        return int(len(text) / CHARACTERS_A_TOKEN)

    def answer(
        self,
        asks: Sequence[GenerationRequest],
        decoding: DecodingConfig,
        on_reply: Callable[[GenerationRequest, Reply], None],
    ) -> None:
        check_prompt_penalty("a server", decoding)
        with ThreadPoolExecutor(self.concurrency) as pool:
            waiting = {pool.submit(self._one, ask, decoding): ask for ask in asks}
            faults = []
            for future in as_completed(waiting):
                if future.cancelled():
                    continue
                if (fault := future.exception()) is None:
                    on_reply(waiting[future], future.result())
                    continue
                faults.append(fault)
                pool.shutdown(wait=False, cancel_futures=True)  # what is under way is still kept
        if faults:
            raise IncompleteError(f"{faults[0]}; the answers that came are kept, the same command goes on") from faults[
                0
            ]

    @retry(
        retry=retry_if_exception_type(ServerUnavailableError), stop=stop_after_attempt(5), wait=wait_random_exponential(1, 20),
        reraise=True,
    )  # fmt: skip
    def _one(self, ask: GenerationRequest, decoding: DecodingConfig) -> Reply:
        body = {
            "model": ask.model,
            "prompt": ask.prompt,
            "max_tokens": decoding.max_new_tokens,
            "temperature": decoding.temperature,
            "top_p": decoding.top_p,
            "repetition_penalty": decoding.repetition_penalty,
            "seed": decoding.seed,
            "stop": list(decoding.stop_strings)[:4] or None,
            "include_stop_str_in_output": True,
        }
        started = time.perf_counter()
        reply = self._call("POST", "/completions", json=body)
        seconds = round(time.perf_counter() - started, 4)
        usage = reply.get("usage") or {}
        return Reply(reply["choices"][0]["text"], int(usage.get("completion_tokens") or 0), seconds)

    def _served(self) -> dict[str, int]:
        """Model name -> tokens of context."""
        rows = self._call("GET", "/models").get("data") or []
        return {row["id"]: int(row.get("max_model_len") or 4096) for row in rows}

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = self.client.request(method, path, **options)
        except httpx.HTTPError as e:
            raise ServerUnavailableError(f"{self.url}{path}: {type(e).__name__}; is the server up?") from e
        if response.status_code == 429 or response.status_code >= 500:
            raise ServerUnavailableError(f"{self.url}{path}: {response.status_code}")
        if response.status_code >= 400:
            raise InvalidInputError(f"{self.url}{path}: {response.status_code} {response.text[:300]}")
        try:
            answer: dict[str, Any] = response.json()
        except ValueError as e:
            raise ServerUnavailableError(f"{self.url}{path}: the answer is no JSON") from e
        return answer
