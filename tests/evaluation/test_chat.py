"""Chat adapters in the evaluation: messages through the chat template, locally and on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.openai_server import HttpResponse, serving
from tests.evaluation.tiny import make_adapter, make_base
from tests.fakes.chat_base import CHATML, END_OF_TURN, make_chat_base
from tests.fakes.training_manifest import training_manifest
from transformers import AutoModelForCausalLM, AutoTokenizer

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl, write_json
from insurance_rag.core.prompt_templates import RAG_INSTRUCTION, chat_messages
from insurance_rag.evaluation.backends import open_backend
from insurance_rag.evaluation.backends.prompt_tokens import PromptTokens
from insurance_rag.evaluation.prompts import choose_formats
from insurance_rag.evaluation.requests import build_prompt
from insurance_rag.evaluation.runner import evaluate, rescore

DECODING = DecodingConfig.preset("after").model_copy(update={"max_new_tokens": 8, "penalty_scope": "prompt"})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return make_chat_base(make_base(folder / "base"), folder / "chat")


@pytest.fixture(scope="module")
def adapters(base: Path) -> dict[str, Path]:
    """One adapter for chat messages, and one for `rag`."""
    found = {}
    for seed, prompt_format in enumerate(("chat", "rag")):
        found[prompt_format] = make_adapter(base, base.parent / prompt_format, seed)
        manifest = training_manifest(prompt_format=prompt_format, base_model=str(base), base_revision=None)
        write_json(AdapterFolder(found[prompt_format]).manifest, manifest.model_dump(mode="json"))
    return found


def ask(base: Path, adapters: dict[str, Path], out: Path, cache: Path, **settings: object) -> list[dict[str, Any]]:
    """Evaluate three questions and return the scored answers."""
    config = EvaluationConfig.parse({"contexts": ["gold"], **settings})
    questions, chunks = read_questions("sample")[:3], read_chunks("sample")
    evaluate(questions, chunks, str(base), adapters, DECODING, out, config, cache=cache)
    return read_jsonl(out / "answers.jsonl")


def test_the_base_is_asked_in_chat_only_if_all_adapters_are(adapters: dict[str, Path], tmp_path: Path) -> None:
    def base_format(**folders: Path) -> str:
        return choose_formats(folders, ["own"]).by_choice["own"]["Base"]

    assert base_format() == base_format(**adapters) == base_format(unknown=tmp_path) == "rag"
    assert base_format(v2=adapters["chat"], unknown=tmp_path) == base_format(v2=adapters["chat"]) == "chat"


@pytest.mark.parametrize("backend", ["local", "reference"])
def test_three_questions_in_chat(
    backend: str, base: Path, adapters: dict[str, Path], cache: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    rows = ask(base, {"v2": adapters["chat"]}, out, cache, reference=backend == "reference")
    assert [(row["model"], row["prompt_format"]) for row in rows] == [("Base", "chat"), ("v2", "chat")] * 3
    assert all(row["new_tokens"] for row in rows)
    assert read_json(out / "summary.json")["prompt_formats"] == {"Base": "chat", "v2": "chat"}
    assert {row["prompt_format"] for row in read_json(out / "generated.json")["samples"][0]["answers"]} == {"chat"}
    before = (out / "answers.jsonl").read_bytes()
    rescore(out, read_questions("sample")[:3], read_chunks("sample"))
    assert (out / "answers.jsonl").read_bytes() == before


@pytest.mark.parametrize("backend", ["local", "reference"])
def test_the_chat_template_renders_prompts_and_ends_answers(
    backend: str, base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    prompt = build_prompt("며칠인가요?", [], "chat")
    tokenizer = AutoTokenizer.from_pretrained(base)
    rendered = tokenizer.apply_chat_template(chat_messages("며칠인가요?", ""), add_generation_prompt=True)["input_ids"]
    config = EvaluationConfig(reference=backend == "reference")
    assert open_backend(str(base), adapters, config).count_tokens(prompt, "chat") == len(rendered)
    tokens = PromptTokens(tokenizer)
    assert tokens.encode(prompt, "chat") == rendered
    text = build_prompt("며칠인가요?", [], "rag")
    assert tokens.encode(text, "rag") == tokenizer(text)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(base)
    assert {tokenizer.convert_ids_to_tokens(i) for i in tokens.end_tokens(model)} == {"<eos>", END_OF_TURN}


def test_unusable_templates_are_reported_before_weights_are_loaded(
    base: Path, adapters: dict[str, Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("insurance_rag.evaluation.backends.local.attached_model.load_inference_model", None)
    for file in base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for template, message in (
        (None, "its tokenizer has no chat template"),
        (CHATML.replace("in messages", "in messages[1:]"), "its chat template drops the system prompt"),
    ):
        tokenizer = AutoTokenizer.from_pretrained(base)
        tokenizer.chat_template = template
        (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
        tokenizer.save_pretrained(tmp_path)
        with pytest.raises(InvalidInputError, match=message):
            ask(tmp_path, {"v2": adapters["chat"]}, tmp_path / "out", cache)
        assert PromptTokens(tokenizer).encode(build_prompt("며칠?", [], "rag"), "rag")


def test_a_server_gets_messages_for_chat_formats_and_text_for_the_others(
    base: Path, adapters: dict[str, Path], cache: Path, tmp_path: Path
) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def answer(path: str, body: dict[str, Any]) -> HttpResponse:
        if path == "/v1/models":
            return 200, {"data": [{"id": name, "max_model_len": 2048} for name in ("Base", *adapters)]}
        seen.append((path, body))
        choice = {"message": {"content": "대화"}} if path == "/v1/chat/completions" else {"text": "문장"}
        return 200, {"choices": [choice], "usage": {"completion_tokens": 2}}

    with serving(answer) as url:
        rows = ask(base, adapters, tmp_path / "out", cache, server=url)
    assert {(row["model"], row["raw_answer"]) for row in rows} == {("Base", "문장"), ("rag", "문장"), ("chat", "대화")}
    assert {body["model"]: path for path, body in seen} == {
        "Base": "/v1/completions", "rag": "/v1/completions", "chat": "/v1/chat/completions",
    }  # fmt: skip
    chat = next(body for path, body in seen if path == "/v1/chat/completions")
    assert [message["role"] for message in chat["messages"]] == ["system", "user"]
    assert chat["messages"][0]["content"] == RAG_INSTRUCTION and "\n\n질문: " in chat["messages"][1]["content"]
    assert chat["chat_template_kwargs"]["enable_thinking"] is False and "prompt" not in chat
    assert chat["max_tokens"] == DECODING.max_new_tokens
