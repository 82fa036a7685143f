"""Adapters in the forms that servers load: vLLM's resolver, merged weights, and GGUF in llama.cpp itself."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.evaluation.tiny import make_adapter, make_base
from tests.fakes.training_manifest import training_manifest

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.cli.main import main
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.files import read_json, read_jsonl, write_json
from insurance_rag.evaluation.runner import evaluate
from insurance_rag.evaluation.smoke import ServedModel, smoke_test
from insurance_rag.training import load_recipe
from insurance_rag.training.gguf_converter import MODEL_SCRIPT, convert_model

QUESTIONS = 12
START = 3
"""Number of characters at the start of an answer."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a rank-stabilized adapter that changes the answers, with manifest and tokenizer."""
    folder = make_adapter(base, tmp_path_factory.mktemp("v2"), 3, use_rslora=True)
    for file in base.glob("tokenizer*"):
        shutil.copy(file, folder)
    settings = load_recipe("smoke").model_dump(mode="json")
    manifest = training_manifest(base_model=str(base), quantization="none", settings=settings)
    write_json(folder / "training.json", manifest.model_dump(mode="json"))
    return folder


def test_the_folder_is_what_vllms_resolver_looks_for(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["export", "--adapter", str(adapter), "--format", "vllm", "--out", str(tmp_path / "adapters")]
    assert main([*argv, "--base-model", "acme/base", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    folder = tmp_path / "adapters" / result["name"]
    config = read_json(folder / "adapter_config.json")
    assert (config["peft_type"], config["base_model_name_or_path"]) == ("LORA", "acme/base")
    assert (folder / "adapter_model.safetensors").read_bytes() == (adapter / "adapter_model.safetensors").read_bytes()
    assert result["name"].startswith("v2-") and "--max-lora-rank 8" in result["serve"]
    written = (folder / "publication.json").stat().st_mtime_ns
    assert main([*argv, "--base-model", "acme/base"]) == 0  # the same again changes nothing
    assert (folder / "publication.json").stat().st_mtime_ns == written
    assert main([*argv, "--base-model", "other", "--name", result["name"]]) == 2  # a name keeps its weights
    assert main([*argv, "--name", "../escape"]) == 2
    assert sorted(path.name for path in (tmp_path / "adapters").iterdir()) == [result["name"]]


def test_an_adapter_that_servers_cannot_attach_is_refused(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dora = make_adapter(base, tmp_path / "dora", 1, use_dora=True)
    write_json(dora / "training.json", training_manifest(base_model=str(base), quantization="none").model_dump())
    for form in ("vllm", "gguf-lora"):
        argv = ["export", "--adapter", str(dora), "--format", form, "--out", str(tmp_path / form)]
        assert main([*argv, "--llama-cpp", str(fake_llama_cpp(tmp_path))]) == 2
        assert "DoRA; use --format" in capsys.readouterr().err
        assert not (tmp_path / form).exists()


def test_settings_that_are_null_count_as_not_set(adapter: Path, tmp_path: Path) -> None:
    """Other tools than peft write null for what they do not use."""
    plain = shutil.copytree(adapter, tmp_path / "plain")
    config = read_json(plain / "adapter_config.json") | {"use_rslora": None, "use_dora": None, "bias": None}
    write_json(plain / "adapter_config.json", config)
    assert main(["export", "--adapter", str(plain), "--format", "vllm", "--out", str(tmp_path / "adapters")]) == 0


def test_an_export_replaces_only_exports(adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("keep")
    assert main(["export", "--adapter", str(adapter), "--out", str(tmp_path / "letters")]) == 2
    assert "is not an export" in capsys.readouterr().err
    assert (tmp_path / "letters" / "mine.txt").read_text() == "keep"


def fake_llama_cpp(folder: Path) -> Path:
    """Return a folder with converters that always fail."""
    for script in (MODEL_SCRIPT, "convert_lora_to_gguf.py"):
        (folder / script).write_text("import sys\nsys.exit('unknown architecture')\n")
    (folder / "gguf-py").mkdir(exist_ok=True)
    return folder


def test_without_a_working_converter_the_error_says_what_to_install(
    adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    argv = ["export", "--adapter", str(adapter), "--format", "gguf-lora", "--out", str(tmp_path / "out")]
    assert main(argv) == 2
    assert main([*argv, "--llama-cpp", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("git clone --depth 1 https://github.com/ggml-org/llama.cpp") == 2
    assert main([*argv, "--llama-cpp", str(fake_llama_cpp(tmp_path))]) == 2
    assert "converter failed: unknown architecture" in capsys.readouterr().err
    assert [path.name for path in tmp_path.glob("*out*")] == []


@contextmanager
def llama_server(model: Path, lora: Path | None = None) -> Iterator[str]:
    """Serve a GGUF model with llama.cpp in this process, and yield the base URL."""
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path, params.port, params.warmup, params.n_ctx, params.n_parallel = str(model), 0, False, 2048, 1
    params.cpuparams.n_threads, params.verbosity = 1, -1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    if lora:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(lora), 1.0)]
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


@pytest.mark.slow
def test_merged_and_attached_gguf_answer_like_the_adapter(
    base: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The evaluation attaches the adapter in PyTorch. llama.cpp serves both GGUF files and is asked the same."""
    if not os.environ.get("LLAMA_CPP"):
        pytest.skip("LLAMA_CPP does not name llama.cpp's source, so there is no converter")
    questions, chunks = read_questions("sample")[:QUESTIONS], read_chunks("sample")
    decoding = DecodingConfig(max_new_tokens=12, repetition_penalty=1.0)
    config = EvaluationConfig(contexts=("gold",), precision="fp32")
    evaluate(questions, chunks, str(base), {"v2": adapter}, decoding, tmp_path / "evaluation", config)
    argv = ["export", "--adapter", str(adapter), "--out"]
    assert main([*argv, str(tmp_path / "merged"), "--format", "gguf"]) == 0
    assert main([*argv, str(tmp_path / "lora"), "--format", "gguf-lora"]) == 0
    assert "llama-server -m BASE.gguf --lora adapter.gguf" in capsys.readouterr().out
    convert_model(Path(os.environ["LLAMA_CPP"]), base, tmp_path / "base.gguf", "f32")

    def alike(model: str, url: str) -> float:
        """Return the share of answers that begin like those of a model in the evaluation."""
        out = tmp_path / "answers.jsonl"
        smoke_test(tmp_path / "evaluation", questions, chunks, model, ServedModel(url, "any"), QUESTIONS, out)
        rows = read_jsonl(out)
        return sum(row["served"][:START] == row["evaluated"][:START] for row in rows) / len(rows)

    # Random weights amplify rounding, so that answers differ later on. Without the adapter, they differ from the start.
    with llama_server(tmp_path / "merged" / "model.gguf") as url:
        assert alike("v2", url) >= 0.7 and alike("Base", url) <= 0.2
    with llama_server(tmp_path / "base.gguf", tmp_path / "lora" / "adapter.gguf") as url:
        assert alike("v2", url) >= 0.9 and alike("Base", url) <= 0.2
