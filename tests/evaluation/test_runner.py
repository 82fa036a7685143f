"""`evaluate` and `sweep` for real: a tiny model, real adapters, the sample questions."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.evaluation.fake_model import QUESTIONS, FakeBackend, evaluate_with
from tests.evaluation.tiny import make_adapter, make_base
from tests.fakes.training_manifest import training_manifest

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.chunks.sections import section_name
from insurance_rag.cli.main import main
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl, write_json
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.prompt_templates import ContextChunkText, rag_prompt
from insurance_rag.core.records import EvaluationSummary, SweepSummary
from insurance_rag.evaluation import runner
from insurance_rag.evaluation import sweep as sweep_module
from insurance_rag.evaluation.backends import open_backend
from insurance_rag.evaluation.backends.local.inference_model import BaseModelSpec
from insurance_rag.evaluation.contexts import fit_chunks
from insurance_rag.evaluation.inputs import contaminated_questions
from insurance_rag.evaluation.runner import evaluate
from insurance_rag.evaluation.sweep import sweep

SHORT = DecodingConfig(max_new_tokens=24)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(base, tmp_path_factory.mktemp("v1"), 1)


@pytest.fixture(autouse=True)
def _restore_open_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what `evaluate_with` replaces."""
    monkeypatch.setattr(runner, "open_backend", open_backend)


def read_summary(path: Path) -> EvaluationSummary:
    return EvaluationSummary.model_validate(read_json(path))


def test_files_rates_and_resume(base: Path, adapter: Path, cache: Path, tmp_path: Path) -> None:
    questions, chunks = read_questions("sample")[:8], read_chunks("sample")
    out = tmp_path / "evaluation"
    result = evaluate(
        questions, chunks, str(base), {"v1": adapter}, SHORT, out, cache=cache, progress=tmp_path / "progress"
    )
    assert (result.rows, result.questions, list(result.hallucination)) == (16, 8, ["Base", "v1"])
    assert list(result.correct) == ["Base", "v1"]
    assert "only 8 questions" in result.notes[0]
    rows, summary = read_jsonl(out / "answers.jsonl"), read_summary(out / "summary.json")
    assert {(row["question_id"], row["model"]) for row in rows} == {
        (q.question_id, m) for q in questions for m in ("Base", "v1")
    }
    assert summary.models["v1"].rates["hallucination"].n == 8
    assert {test.metric for test in summary.tests} == {
        "correct",
        "hallucination",
        "faulty",
        "false_refusal",
        "missed_refusal",
        "number_accuracy",
    }
    assert all(row["gold_in_context"] in (True, None) for row in read_jsonl(out / "answers_gold.jsonl"))
    for name, models in (("comparison_results.json", 2), ("comparison_results_v2.json", 2)):
        comparison = read_json(out / name)
        assert len(comparison["questions"]) == 8
        answers = comparison["questions"][0]["answers"].values()
        assert len(answers) == models
        assert all(answer["correct"] == (not answer["problems"]) for answer in answers)
        assert comparison["correct"].keys() == comparison["raw_correct"].keys() == comparison["hallucination"].keys()
    assert read_json(tmp_path / "progress" / "evaluate-answers.json")["state"] == "done"
    assert "NaN" not in (out / "summary.json").read_text()
    before = (out / "answers.jsonl").read_bytes()
    journal = (out / "answers.journal.jsonl").read_bytes()
    again = evaluate(questions, chunks, str(base), {"v1": adapter}, SHORT, out, cache=cache)
    assert again.sha256 == result.sha256  # nothing was generated again
    assert result.folder == out and sha256_file(Path(result.uri)) == result.sha256
    assert (out / "answers.jsonl").read_bytes() == before
    assert (out / "answers.journal.jsonl").read_bytes() == journal


@pytest.mark.slow
def test_a_killed_evaluation_resumes(cache: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.evaluation.fake_model", str(tmp_path), str(cache), "5"]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == -signal.SIGKILL
    journal = tmp_path / "answers.journal.jsonl"
    assert len(read_jsonl(journal)) == 5
    assert not (tmp_path / "answers.jsonl").exists()
    with journal.open("ab") as f:
        f.write('{"key": "torn, 보'.encode()[:-1])
    backend = FakeBackend()
    assert evaluate_with(backend, tmp_path, cache).rows == QUESTIONS
    assert backend.requests == len(read_jsonl(journal)) - 5


def test_nasty_answers_are_counted(cache: Path, tmp_path: Path) -> None:
    nasty = ["", "보험금 " * 40_000, "\x00\x1b[31m\ufffd" * 50, "{}", "가"]
    answers = {q.question_id: answer for q, answer in zip(read_questions("sample"), nasty, strict=False)}
    evaluate_with(FakeBackend(answers), tmp_path, cache, questions=6)
    model = read_summary(tmp_path / "summary.json").models["Base"]
    assert model.rates["empty"].count == 1
    assert model.findings["loop"] >= 1
    assert model.rates["hallucination"].n == 6
    assert not any(word in (tmp_path / "summary.json").read_text() for word in ("NaN", "Infinity"))


def test_bad_input_is_listed_at_once_and_nothing_is_written(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [q.model_copy(update={"gold_chunk_ids": ["nowhere"]}) for q in read_questions("sample")[:2]]
    with pytest.raises(InvalidInputError) as caught:
        evaluate(
            questions, read_chunks("sample"), str(base), {"v1": tmp_path / "none", "Base": base}, SHORT, tmp_path / "x"
        )
    text = str(caught.value)
    assert text.count("'nowhere' is not among the chunks") == 2
    assert "adapter v1:" in text
    assert "the name of the base model" in text
    assert not (tmp_path / "x").exists()
    arguments = [
        "evaluate",
        "--questions",
        "sample",
        "--chunks",
        "sample",
        "--base-model",
        str(base),
        "--out",
        str(tmp_path),
    ]
    assert main([*arguments, "--adapter", "v1", "--limit", "0"]) == 2
    problems = capsys.readouterr().err
    assert "--adapter v1: not of the form NAME=DIR" in problems
    assert "--limit 0" in problems
    assert main([*arguments, "--set", "precison=nf4"]) == 2
    assert "did you mean 'precision'" in capsys.readouterr().err


def test_chunks_are_cut_to_fit_the_prompt() -> None:
    texts = ["가" * 300, "나" * 300, "다" * 300]
    empty = len(rag_prompt("질문?", ""))

    def fit(budget: int) -> list[str]:
        chunks = [ContextChunkText(text) for text in texts]
        return [chunk.text for chunk in fit_chunks(chunks, "질문?", budget, lambda prompt, prompt_format: len(prompt))]

    assert fit(empty + 1000) == texts
    assert fit(empty + 650) == texts[:2]
    (cut,) = fit(empty + 100)
    assert 0 < len(cut) <= 100
    assert fit(10) == [""]


def test_the_sweep_tunes_on_one_half_and_reports_the_other(
    base: Path, adapter: Path, cache: Path, tmp_path: Path
) -> None:
    questions = read_questions("sample")[:6]
    chunks = read_chunks("sample")
    result = sweep(questions, chunks, str(base), {"v1": adapter}, tmp_path, settings={"max_new_tokens": 8}, cache=cache)
    figures = SweepSummary.model_validate(read_json(tmp_path / "sweep.json"))
    assert figures.questions.tuning + figures.questions.report == 6
    assert set(result.best) == {"Base", "v1"}
    assert all(best in figures.report for best in figures.best.values())
    assert len(figures.tuning) == 3 + 2 * (4 + 3)
    assert figures.before_after["v1"].after_against_before.n == figures.questions.report


@pytest.mark.parametrize("settings", [{"reference": True}, {"precision": "nf4", "engine": "generate"}])
def test_other_ways_to_answer(
    base: Path, adapter: Path, cache: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    config = EvaluationConfig.parse({"contexts": ["retrieved"], **settings})
    questions = read_questions("sample")[:2]
    decoding = DecodingConfig.preset("after").model_copy(update={"max_new_tokens": 6})
    result = evaluate(
        questions, read_chunks("sample"), str(base), {"v1": adapter}, decoding, tmp_path, config, cache=cache
    )
    assert result.rows == 4
    assert all(row["new_tokens"] for row in read_jsonl(tmp_path / "answers.jsonl"))


def test_the_commands_evaluate_and_sweep(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "open_backend", lambda *_: FakeBackend())
    monkeypatch.setattr(sweep_module, "open_backend", lambda *_: FakeBackend())
    (tmp_path / "plan.json").write_text("{}")  # the folder of a run: progress goes next to the evaluation
    out = tmp_path / "evaluation"
    shared = ["--questions", "sample", "--limit", "4", "--chunks", "sample", "--base-model", "fake", "--json"]
    shared += ["--cache", str(cache), "--set", "decoding.max_new_tokens=9", "--set", "contexts=[gold]"]
    assert main(["evaluate", *shared, "--out", str(out), "--decoding", "after", "--reference"]) == 0
    summary = read_summary(out / "summary.json")
    assert (summary.context, summary.decoding["max_new_tokens"]) == ("gold", 9)
    assert summary.decoding["penalty_scope"] == "prompt"
    assert summary.config["reference"] is True
    assert (tmp_path / "progress" / "evaluate-answers.json").exists()
    assert main(["evaluate", *shared, "--out", str(out), "--labels", str(tmp_path / "none.csv")]) == 2
    assert main(["sweep", *shared, "--out", str(tmp_path / "sweep")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["best"]["Base"]


def test_the_base_model_is_loaded_as_the_adapters_were_trained(adapter: Path, tmp_path: Path) -> None:
    folders = {}
    for name, quantization in (("a", "nf4"), ("b", "none")):
        folders[name] = tmp_path / name
        shutil.copytree(adapter, folders[name])
        manifest = training_manifest(
            quantization=quantization, plan={"double_quantization": False}, base_model="base", base_revision=None
        )
        write_json(AdapterFolder(folders[name]).manifest, manifest.model_dump(mode="json"))
    single = BaseModelSpec(quantized=True, double_quantization=False)
    assert BaseModelSpec.of({"a": folders["a"]}, "base") == single
    assert BaseModelSpec.of({"b": folders["b"]}, "base") == BaseModelSpec(quantized=False, double_quantization=False)
    assert BaseModelSpec.of({"v1": adapter}, "base") == BaseModelSpec()
    with pytest.raises(InvalidInputError, match=r"trained on different base models .*evaluate them in separate runs"):
        BaseModelSpec.of(folders, "base")
    with pytest.raises(
        InvalidInputError, match=r"base model is other, but adapters were trained on another one \(a: base\)"
    ):
        BaseModelSpec.of({"a": folders["a"]}, "other")
    assert BaseModelSpec.of({"a": folders["a"]}, str(tmp_path)) == single  # a folder may be a copy of that model


def test_questions_about_what_an_adapter_was_trained_on_are_counted(tmp_path: Path) -> None:
    chunks, questions = read_chunks("sample"), read_questions("sample")[:4]
    sources = {c.chunk_id: c.metadata.source for c in chunks}
    about = sorted({sources[i] for q in questions for i in q.gold_chunk_ids})
    for name, heldout in (("clean", about), ("leaky", [])):
        manifest = training_manifest(dataset={"heldout_documents": heldout})
        write_json(AdapterFolder(tmp_path / name).manifest, manifest.model_dump(mode="json"))
    (tmp_path / "unknown").mkdir()
    folders = {name: tmp_path / name for name in ("clean", "leaky", "unknown")}
    answerable = sum(bool(q.gold_chunk_ids) for q in questions)
    assert contaminated_questions(questions, chunks, folders) == {"clean": 0, "leaky": answerable}


def test_questions_about_held_out_sections_are_not_contaminated(tmp_path: Path) -> None:
    chunks, questions = read_chunks("sample"), [q for q in read_questions("sample") if q.gold_chunk_ids][:20]
    sections = {c.chunk_id: section_name(c) for c in chunks}
    held_out = sections[questions[0].gold_chunk_ids[0]]
    manifest = training_manifest(dataset={"heldout_documents": [], "heldout_sections": [held_out]})
    write_json(AdapterFolder(tmp_path).manifest, manifest.model_dump(mode="json"))
    others = [q for q in questions if {sections[i] for i in q.gold_chunk_ids} != {held_out}]
    assert 0 < len(others) < len(questions)
    assert contaminated_questions(questions, chunks, {"a": tmp_path}) == {"a": len(others)}


def test_a_context_window_without_room_for_a_chunk_is_an_error(base: Path, adapter: Path, tmp_path: Path) -> None:
    arguments = (read_questions("sample")[:1], read_chunks("sample"), str(base), {"v1": adapter})
    with pytest.raises(InvalidInputError, match="no room for a chunk"):
        evaluate(*arguments, DecodingConfig(max_new_tokens=100_000), tmp_path)


def test_a_sweep_needs_a_local_model(base: Path, adapter: Path, tmp_path: Path) -> None:
    config = EvaluationConfig(server="http://127.0.0.1:9")
    with pytest.raises(InvalidInputError, match="which needs a local model"):
        sweep(read_questions("sample")[:1], read_chunks("sample"), str(base), {"v1": adapter}, tmp_path, config)
