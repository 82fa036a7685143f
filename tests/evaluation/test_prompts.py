"""Prompt formats in the evaluation: every adapter is asked in its own format, in `rag`, or in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from tests.evaluation.fake_model import FakeBackend
from tests.evaluation.tiny import make_adapter, make_base
from tests.fakes.training_manifest import training_manifest

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.cli.main import main
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl, write_json
from insurance_rag.core.prompt_templates import (
    PROMPT_FORMATS,
    ContextChunkText,
    merged_prompt,
    plain_prompt,
    rag_prompt,
    read_messages,
)
from insurance_rag.core.records import EvaluationSummary
from insurance_rag.evaluation import runner
from insurance_rag.evaluation.backends import OnAnswer
from insurance_rag.evaluation.contexts import fit_chunks
from insurance_rag.evaluation.postprocess import first_stop
from insurance_rag.evaluation.prompts import choose_formats
from insurance_rag.evaluation.requests import GenerationRequest
from insurance_rag.korean import prompt_echo

FORMATS = {"v1": "plain", "v2": "rag", "v3": "merged"}
QUESTIONS = 3
DECODING = DecodingConfig()


class RecordingBackend(FakeBackend):
    """Keeps all requests."""

    identities: ClassVar[Mapping[str, str]] = {name: name for name in ("Base", *FORMATS, "bare")}

    def __init__(self, context_limit: int = 4096) -> None:
        super().__init__()
        self.context_limit = context_limit
        self.received: list[GenerationRequest] = []

    def answer(self, requests: Sequence[GenerationRequest], decoding: DecodingConfig, on_answer: OnAnswer, /) -> None:
        self.received += requests
        super().answer(requests, decoding, on_answer)


@pytest.fixture
def adapters(cache: Path, tmp_path: Path) -> dict[str, Path]:
    """Three adapters with training manifests, and one without."""
    (tmp_path / "cache").symlink_to(cache)  # the search index, next to the folders of the evaluations
    folders = {name: tmp_path / "adapters" / name for name in (*FORMATS, "bare")}
    for name, folder in folders.items():
        folder.mkdir(parents=True)
        for file in (AdapterFolder(folder).peft_config, AdapterFolder(folder).weights):
            file.write_text("{}")
        if name in FORMATS:
            manifest = training_manifest(prompt_format=FORMATS[name], dataset={"heldout_documents": None})
            write_json(AdapterFolder(folder).manifest, manifest.model_dump(mode="json"))
    return folders


def ask(
    monkeypatch: pytest.MonkeyPatch, adapters: dict[str, Path], out: Path, prompt: str, context_limit: int = 4096
) -> RecordingBackend:
    backend = RecordingBackend(context_limit)
    monkeypatch.setattr(runner, "open_backend", lambda *_: backend)
    config = EvaluationConfig.parse({"prompt": prompt})
    questions, cache = read_questions("sample")[:QUESTIONS], out.parent / "cache"
    runner.evaluate(questions, read_chunks("sample"), "fake", adapters, DECODING, out, config, cache=cache)
    return backend


def summary(path: Path) -> EvaluationSummary:
    return EvaluationSummary.model_validate(read_json(path))


def test_every_adapter_is_asked_in_the_format_of_its_manifest(
    monkeypatch: pytest.MonkeyPatch, adapters: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    backend = ask(monkeypatch, adapters, out, "own")
    prompts = {(request.model, request.prompt) for request in backend.received}
    rows = read_jsonl(out / "answers.jsonl")
    for row in rows:
        if row["model"] in ("v1", "v3"):
            build = {"v1": plain_prompt, "v3": merged_prompt}[row["model"]]
            assert (row["model"], build(row["question"], row["context"])) in prompts
        else:  # the context in the prompt has headers
            ending = rag_prompt(row["question"], row["context"][-50:])[-len(row["question"]) - 50 :]
            assert any(model == row["model"] and prompt.endswith(ending) for model, prompt in prompts)
    main_results = summary(out / "summary.json")
    assert main_results.prompt == "own"
    assert main_results.prompt_formats == {"Base": "rag", **FORMATS, "bare": "rag"}
    assert {row["model"]: row["prompt_format"] for row in rows} == main_results.prompt_formats
    assert len({(row["question_id"], row["context"]) for row in rows}) == QUESTIONS  # all models saw the same chunks
    assert not (out / "summary_rag.json").exists()


def test_an_adapter_without_a_manifest_is_asked_in_rag_and_a_note_says_so(
    monkeypatch: pytest.MonkeyPatch, adapters: dict[str, Path], tmp_path: Path
) -> None:
    ask(monkeypatch, adapters, tmp_path / "out", "own")
    found = summary(tmp_path / "out" / "summary.json")
    assert found.assumed_formats == ["bare"]
    assert [note for note in found.notes if "bare" in note] == [
        "bare has no training.json, so its prompt format is unknown; it was asked in rag"
    ]


def test_rag_asks_all_models_in_the_same_format(
    monkeypatch: pytest.MonkeyPatch, adapters: dict[str, Path], tmp_path: Path
) -> None:
    backend = ask(monkeypatch, adapters, tmp_path / "out", "rag")
    assert {request.prompt_format for request in backend.received} == {"rag"}
    found = summary(tmp_path / "out" / "summary.json")
    assert (found.prompt, set(found.prompt_formats.values())) == ("rag", {"rag"})


def test_both_gives_two_summaries_and_sends_no_prompt_twice(
    monkeypatch: pytest.MonkeyPatch, adapters: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    backend = ask(monkeypatch, adapters, out, "both")
    sent = [(request.model, request.prompt) for request in backend.received]
    assert len(sent) == len(set(sent))
    asked = {name: {r.prompt_format for r in backend.received if r.model == name} for name in backend.identities}
    assert asked == {"Base": {"rag"}, "v1": {"plain", "rag"}, "v2": {"rag"}, "v3": {"merged", "rag"}, "bare": {"rag"}}
    views = {
        suffix: (found.context, found.prompt)
        for suffix in ("", "_gold", "_rag", "_gold_rag")
        if (found := summary(out / f"summary{suffix}.json"))
    }
    assert list(views.values()) == [("retrieved", "own"), ("gold", "own"), ("retrieved", "rag"), ("gold", "rag")]
    own, rag = (read_jsonl(out / f"answers{suffix}.jsonl") for suffix in ("", "_rag"))
    assert len(own) == len(rag) == QUESTIONS * 5
    keys = [{row["key"] for row in rows if row["model"] == "v2"} for rows in (own, rag)]
    assert keys[0] == keys[1]
    assert {row["prompt_format"] for row in rag} == {"rag"}


def test_results_of_other_settings_do_not_stay_in_the_folder(
    monkeypatch: pytest.MonkeyPatch, adapters: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ask(monkeypatch, adapters, out, "both")
    (out / "summary_of_mine.json").touch()
    assert ask(monkeypatch, adapters, out, "own").received == []  # all answers are in the journal
    names = {path.name for path in (*out.glob("summary*"), *out.glob("answers*"))}
    assert names == {
        *("summary.json", "summary_gold.json", "summary_of_mine.json"),
        *("answers.jsonl", "answers.jsonl.manifest.json", "answers_gold.jsonl", "answers.journal.jsonl"),
    }


def test_the_chunks_are_cut_to_fit_the_longest_format(
    monkeypatch: pytest.MonkeyPatch, adapters: dict[str, Path], tmp_path: Path
) -> None:
    assert len(rag_prompt("질문?", "")) > len(plain_prompt("질문?", ""))
    room = len(rag_prompt("질문?", "")) + 100

    def fit(*formats: str) -> str:
        (chunk,) = fit_chunks(
            [ContextChunkText("가" * 300)], "질문?", room, lambda prompt, prompt_format: len(prompt), formats
        )
        return chunk.text

    assert fit("rag") == fit("plain", "rag")
    assert len(fit("plain")) > len(fit("plain", "rag"))
    limit = DECODING.max_new_tokens + 500
    backend = ask(monkeypatch, adapters, tmp_path / "out", "both", context_limit=limit)
    assert max(len(request.prompt) for request in backend.received) <= 500
    rows = [row for s in ("", "_rag") for row in read_jsonl(tmp_path / "out" / f"answers{s}.jsonl")]
    assert len({(row["question_id"], row["context"]) for row in rows}) == QUESTIONS


def test_adapters_with_unknown_formats_are_listed(adapters: dict[str, Path]) -> None:
    for name in ("v1", "v3"):
        manifest = training_manifest(prompt_format="ragg")
        write_json(AdapterFolder(adapters[name]).manifest, manifest.model_dump(mode="json"))
    with pytest.raises(InvalidInputError) as caught:
        choose_formats(adapters, ["own"])
    assert "adapter v1: unknown prompt format 'ragg'; did you mean 'rag'?" in str(caught.value)
    assert "adapter v3: unknown" in str(caught.value)


@pytest.mark.parametrize("name", PROMPT_FORMATS.names)
def test_the_start_of_another_prompt_ends_an_answer_and_is_an_echo(name: str) -> None:
    prompt = PROMPT_FORMATS[name].prompt("보험금은 언제 받나요?", "제7조(보험금의 지급) 지급합니다.")
    if PROMPT_FORMATS[name].chat:
        prompt = read_messages(prompt)[-1]["content"]
    headings = [line for line in prompt.splitlines() if line.startswith(("#", "[", "질문:"))]
    assert len(headings) >= 2
    for heading in headings:
        answer = f"3일 안에 지급합니다.\n{heading}"
        assert first_stop(answer, DECODING.stop_strings), heading
        assert prompt_echo(answer), heading


def test_rescoring_needs_no_model_and_uses_the_questions_references(
    monkeypatch: pytest.MonkeyPatch, adapters: dict[str, Path], tmp_path: Path
) -> None:
    out, chunks, questions = tmp_path / "out", read_chunks("sample"), read_questions("sample")[:QUESTIONS]
    ask(monkeypatch, adapters, out, "both")
    before = {path.name: path.read_bytes() for path in out.glob("*.jsonl")}
    for path in out.glob("answers*.jsonl"):
        if "journal" not in path.name:
            path.unlink()
    monkeypatch.setattr(runner, "open_backend", None)
    runner.rescore(out, questions, chunks)
    assert {path.name: path.read_bytes() for path in out.glob("*.jsonl")} == before
    renamed = [q.model_copy(update={"reference_answer": "다른 답입니다."}) for q in read_questions("sample")]
    runner.rescore(out, renamed, chunks)
    assert {row["reference_answer"] for row in read_jsonl(out / "answers_rag.jsonl")} == {"다른 답입니다."}


def test_rescoring_refuses_other_questions(
    monkeypatch: pytest.MonkeyPatch, adapters: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, chunks, questions = tmp_path / "out", read_chunks("sample"), read_questions("sample")[:QUESTIONS]
    ask(monkeypatch, adapters, out, "own")
    changed = [questions[0].model_copy(update={"question": "다른 질문?"}), *questions[2:]]
    with pytest.raises(InvalidInputError) as caught:
        runner.rescore(out, changed, chunks)
    assert "its text or gold chunks differ from what was asked; run evaluate again" in str(caught.value)
    assert f"question {questions[1].question_id}: was answered but is not among the questions" in str(caught.value)
    arguments = ["--questions", "sample", "--chunks", "sample"]
    assert main(["rescore", "--evaluation", str(tmp_path), *arguments]) == 2
    assert "generated.json: no such file" in capsys.readouterr().err
    assert main(["rescore", "--evaluation", str(out), *arguments]) == 0
    (out / "generated.json").write_text("{}")
    assert main(["rescore", "--evaluation", str(out), *arguments]) == 2
    assert "run evaluate again" in capsys.readouterr().err


def test_a_repeated_evaluation_loads_no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    adapter = make_adapter(base, tmp_path / "v3", 1)
    manifest = training_manifest(prompt_format="merged", base_model=str(base), base_revision=None)
    write_json(AdapterFolder(adapter).manifest, manifest.model_dump(mode="json"))
    arguments = ["evaluate", "--questions", "sample", "--limit", "2", "--chunks", "sample", "--base-model", str(base)]
    arguments += ["--adapter", f"v3={adapter}", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    arguments += ["--set", "decoding.max_new_tokens=8", "--prompt", "both"]
    assert main(arguments) == 0
    answers = (tmp_path / "out" / "answers.jsonl").read_bytes()
    assert {row["prompt_format"] for row in read_jsonl(tmp_path / "out" / "answers.jsonl")} == {"rag", "merged"}
    monkeypatch.setattr("insurance_rag.evaluation.backends.local.attached_model.load_inference_model", None)
    assert main(arguments) == 0
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == answers
