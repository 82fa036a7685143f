"""Answers from a model server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.openai_server import HttpResponse, serving

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import InvalidInputError, ServerUnavailableError
from insurance_rag.core.files import read_jsonl
from insurance_rag.evaluation.backends.server import ServerBackend
from insurance_rag.evaluation.runner import evaluate


@pytest.mark.slow
def test_server_answers_and_a_failed_request_is_retried(cache: Path, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def answer(path: str, body: dict[str, Any]) -> HttpResponse:
        if path == "/v1/models":
            return 200, {"data": [{"id": "Base", "max_model_len": 2048}, {"id": "v1"}]}
        seen.append(body)
        if len(seen) == 1:
            return 503, "busy"
        return 200, {"choices": [{"text": f"{body['model']}의 답입니다. ### 지시"}], "usage": {"completion_tokens": 9}}

    with serving(answer) as url:
        config = EvaluationConfig(server=url, contexts=("retrieved",))
        folder = tmp_path / "v1"
        folder.mkdir()
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / name).write_text("{}")
        asked = (read_questions("sample")[:3], read_chunks("sample"), "served", {"v1": folder})
        decoding = DecodingConfig.preset("after")
        assert evaluate(*asked, decoding, tmp_path / "out", config, cache=cache).rows == 6
        rows = read_jsonl(tmp_path / "out" / "answers.jsonl")
        assert {row["raw_answer"] for row in rows} == {"Base의 답입니다. ### 지시", "v1의 답입니다. ### 지시"}
        assert all(row["new_tokens"] == 9 for row in rows)
        assert len(seen) == 7
        with pytest.raises(InvalidInputError, match="counts the prompt's tokens too"):
            evaluate(*asked, DecodingConfig(), tmp_path / "out", config, cache=cache)
        with pytest.raises(InvalidInputError, match="does not serve v9; it serves Base, v1"):
            ServerBackend("served", {"v9": folder}, config)
    with pytest.raises(ServerUnavailableError, match="is the server running"):
        ServerBackend("served", {}, config)
