"""The perplexity on general text shows what an adapter has forgotten; unusable inputs stop the run before it starts."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tests.evaluation.tiny import make_adapter, make_base
from transformers import AutoModelForCausalLM, AutoTokenizer

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import EvaluationSummary
from insurance_rag.core.records.general_text import GeneralText
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.core.stats import perplexity_ratio
from insurance_rag.evaluation.backends.local.backend import LocalBackend
from insurance_rag.evaluation.general_text import MAX_WINDOWS, choose_pieces, measure_general_text
from insurance_rag.evaluation.inputs import check_inputs
from insurance_rag.evaluation.runner import evaluate, rescore
from insurance_rag.report.collect import collect
from insurance_rag.report.render import render_html

TEXTS = ["봄이 오면 산과 들에 꽃이 핀다. ", "서울은 한강이 흐르는 도시이다. ", "물은 백 도에서 끓는다. "]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(base, tmp_path_factory.mktemp("v1"), 1)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "general.jsonl"
    path.write_text("\n".join(json.dumps({"text": text * 9}, ensure_ascii=False) for text in TEXTS), encoding="utf-8")
    return path


def mean_loss(model: torch.nn.Module, windows: Sequence[Sequence[int]]) -> float:
    """Return the mean loss per token as transformers computes it."""
    total = tokens = 0.0
    for window in windows:
        ids = torch.tensor([window])
        with torch.no_grad():
            total += float(model(input_ids=ids, labels=ids).loss) * (len(window) - 1)
        tokens += len(window) - 1
    return total / tokens


def test_perplexities_are_those_of_transformers_and_peft(
    base: Path, adapter: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EvaluationConfig(precision="fp32")
    with LocalBackend(str(base), {"v1": adapter}, config) as backend:
        measured = measure_general_text(backend, text, tmp_path)
    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base)
    windows = [tokenizer((one * 9).strip())["input_ids"] for one in TEXTS]
    own, adapted = measured.models["Base"], measured.models["v1"]
    assert measured.window_tokens == [len(window) - 1 for window in windows]
    assert own.perplexity == pytest.approx(math.exp(mean_loss(model, windows)), rel=1e-3)
    trained = PeftModel.from_pretrained(model, adapter)
    assert adapted.perplexity == pytest.approx(math.exp(mean_loss(trained, windows)), rel=1e-3)
    assert own.against_base is None and adapted.against_base is not None
    assert adapted.against_base.ratio == pytest.approx(adapted.perplexity / own.perplexity, rel=1e-3)
    monkeypatch.setattr(LocalBackend, "load", lambda _: pytest.fail("loads the model again"))
    with LocalBackend(str(base), {"v1": adapter}, config) as backend:
        assert measure_general_text(backend, text, tmp_path) == measured


def test_pieces_come_from_all_parts_of_the_text() -> None:
    pieces = choose_pieces([f"{i} " + "가" * 5000 for i in range(1000)])
    assert len(pieces) == MAX_WINDOWS and pieces[0].startswith("0 ") and pieces[-1].startswith("995 ")
    assert choose_pieces([" \n", "한 문장."]) == ["한 문장."]


def test_the_interval_is_that_of_the_bootstrap_over_windows() -> None:
    rng = random.Random(0)
    tokens = [rng.randint(200, 1023) for _ in range(200)]
    base = [n * rng.gauss(2.5, 0.4) for n in tokens]
    own = [loss + n * rng.gauss(0.05, 0.1) for loss, n in zip(base, tokens, strict=True)]
    found = perplexity_ratio(own, base, tokens)
    ratios = []
    for _ in range(2000):
        drawn = rng.choices(range(200), k=200)
        ratios.append(math.exp(sum(own[i] - base[i] for i in drawn) / sum(tokens[i] for i in drawn)))
    ratios.sort()
    assert (found.low, found.high) == pytest.approx((ratios[50], ratios[1949]), abs=0.003)
    assert perplexity_ratio(own[:1], base[:1], tokens[:1]).low is None


def test_summary_and_report_show_the_perplexities(
    base: Path, adapter: Path, text: Path, cache: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    questions, chunks = read_questions("sample")[:2], read_chunks("sample")
    config, decoding = EvaluationConfig(contexts=("gold",), general_text=str(text)), DecodingConfig(max_new_tokens=4)
    evaluate(questions, chunks, str(base), {"v1": adapter}, decoding, run.evaluation, config, cache=cache)
    rescore(run.evaluation, questions, chunks)
    summary = EvaluationSummary.model_validate(read_json(run.evaluation / "summary.json"))
    assert summary.general_text == GeneralText.model_validate(read_json(run.evaluation / "general_text.json"))
    ratio = summary.general_text.models["v1"].against_base if summary.general_text else None
    html = render_html(collect(run))
    assert "일반 텍스트의 퍼플렉시티" in html and "Perplexity on general text" in html
    assert ratio is not None and f"{ratio.ratio:.3f}</td>" in html and f"{ratio.low:.3f}–{ratio.high:.3f}" in html


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "general.jsonl: cannot be read"),
        (b"", "general.jsonl: contains no text"),
        (b'{"text": "a"}\n{"txt": "b"}', "1 rows have no `text`, the first is row 2"),
    ],
)
def test_unusable_inputs_are_all_listed(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "general.jsonl"
    if content is not None:
        path.write_bytes(content)
    config = EvaluationConfig(general_text=str(path), general_tasks=("kobest_copa",), server="http://127.0.0.1:1/v1")
    with pytest.raises(InvalidInputError) as error:
        check_inputs([], [], {}, config)
    found = str(error.value)
    for part in (
        message, "questions: none", "general_text needs a local model", "general_tasks needs a local model",
        "general_tasks=kobest_copa needs the package lm_eval; run `pip install 'lm_eval[hf]'`",
    ):  # fmt: skip
        assert part in found


def test_a_text_file_must_be_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "general.txt"
    path.write_bytes("봄".encode("cp949"))
    with pytest.raises(InvalidInputError, match="byte 0 is not UTF-8; save the file as UTF-8"):
        check_inputs(read_questions("sample")[:1], read_chunks("sample"), {}, EvaluationConfig(general_text=str(path)))
