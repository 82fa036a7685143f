"""Answers from a server, the judge with its evidence, and the annotation sheet."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.fake_model import FakeBackend
from tests.evaluation.openai_server import HttpResponse, serving

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import InvalidInputError, KeyRejectedError, ServerUnavailableError
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.records import ScoredAnswer
from insurance_rag.evaluation import runner
from insurance_rag.evaluation.annotations import agreement, read_annotations, write_annotation_sheet
from insurance_rag.evaluation.backends.server import ServerBackend
from insurance_rag.evaluation.judge import judge_answers, judged_rates
from insurance_rag.evaluation.runner import evaluate

CLAUSE = "제7조 회사는 암진단급여금 3,000만원을 지급합니다."


def scored(
    i: int, answer: str = "3,000만원을 지급합니다.", hallucinated: bool = False, model: str = "v1"
) -> ScoredAnswer:
    verdict = {"hallucinated": hallucinated, "findings": [], "raw_hallucinated": hallucinated, "raw_findings": []}
    asked = {"question_id": f"q{i}", "question": "얼마인가요?", "type": "fact", "answerable": True, "product": "-"}
    shown = {"chunk_ids": ["c"], "context": CLAUSE, "context_source": "retrieved", "gold_in_context": True}
    said = {"model": model, "key": f"{model}{i}", "raw_answer": answer, "answer": answer, "refusal": "none"}
    gold = {"reference_answer": None, "gold_chunk_ids": ["c"], "number_accuracy": None, "cluster": "c", "document": "d"}
    judged = {"correctness": {"correct": None}, "raw_correctness": {"correct": None}, "prompt_format": "rag"}
    return ScoredAnswer.model_validate(verdict | asked | shown | said | gold | judged)


def chat(text: str) -> HttpResponse:
    return 200, {"choices": [{"message": {"content": text}}]}


@pytest.mark.slow
def test_server_answers_and_a_failed_request_is_retried(tmp_path: Path) -> None:
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
        assert evaluate(*asked, decoding, tmp_path / "out", config).rows == 6
        rows = read_jsonl(tmp_path / "out" / "answers.jsonl")
        assert {row["raw_answer"] for row in rows} == {"Base의 답입니다. ### 지시", "v1의 답입니다. ### 지시"}
        assert all(row["new_tokens"] == 9 for row in rows)
        assert len(seen) == 7
        with pytest.raises(InvalidInputError, match="counts the prompt's tokens too"):
            evaluate(*asked, DecodingConfig(), tmp_path / "out", config)
        with pytest.raises(InvalidInputError, match="does not serve v9; it serves Base, v1"):
            ServerBackend("served", {"v9": folder}, config)
    with pytest.raises(ServerUnavailableError, match="is the server running"):
        ServerBackend("served", {}, config)


def test_judge_must_quote_and_unusable_judgements_are_counted(tmp_path: Path) -> None:
    supported = {"claim": "3,000만원", "supported": True, "evidence": "암진단급여금 3,000만원을\n지급합니다."}
    replies = {
        "right": json.dumps({"claims": [supported]}, ensure_ascii=False),
        "wrong": "생각해 보면...\n" + json.dumps({"claims": [supported, {"claim": "x", "supported": False}]}) + "\n끝",
        "invented": json.dumps({"claims": [supported | {"evidence": "지어낸 문장"}]}),
        "not JSON": "네, 좋은 답변입니다!",
        "list": "[1, 2]",
        "nothing": "",
    }
    calls: list[str] = []

    def answer(path: str, body: dict[str, Any]) -> HttpResponse:
        text = body["messages"][0]["content"]
        calls.append(text)
        return chat(next(reply for name, reply in replies.items() if f"{name}!" in text))

    rows = [scored(i, f"{name}!") for i, name in enumerate(replies)] + [scored(9, "")]
    with serving(answer) as url:
        judged = judge_answers(rows, f"gpt@{url}", tmp_path)
        assert judge_answers(rows, f"gpt@{url}", tmp_path) == judged  # all from the cache
    assert len(calls) == len(replies)  # the empty answer was not sent
    assert [j.hallucinated for j in judged] == [False, True, None, None, None, None, False]
    figures = judged_rates(judged, ["v1"])["v1"]
    assert (figures.hallucination.count, figures.hallucination.n) == (1, 3)
    assert figures.unusable == {
        "the quoted evidence is not in the context": 1,
        "the output is not the requested JSON": 3,
    }
    with pytest.raises(InvalidInputError, match="MODEL@BASE_URL"):
        judge_answers(rows, "gpt", tmp_path)


def test_judge_that_rejects_the_key_stops_the_run(tmp_path: Path) -> None:
    with serving(lambda *_: (401, "no such key")) as url, pytest.raises(KeyRejectedError, match="401"):
        judge_answers([scored(1)], f"gpt@{url}", tmp_path)


def test_evaluate_with_judge_and_labels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runner, "open_backend", lambda *_: FakeBackend())
    questions, chunks = read_questions("sample")[:6], read_chunks("sample")
    with serving(lambda *_: chat('{"claims": []}')) as url:
        config = EvaluationConfig(judge=f"gpt@{url}")
        evaluate(questions, chunks, "fake", {}, DecodingConfig(), tmp_path, config)
        sheet = tmp_path / "labelling.csv"
        rows = list(csv.DictReader(sheet.read_text("utf-8-sig").splitlines()))
        labels = {row["key"]: i % 2 == 0 for i, row in enumerate(rows)}
        evaluate(questions, chunks, "fake", {}, DecodingConfig(), tmp_path, config, labels=labels)
    summary = read_json(tmp_path / "summary.json")
    assert summary["judge"]["models"]["Base"]["hallucination"]["n"] == 6
    assert set(summary["labels"]) == {"checks", "judge"}
    assert summary["labels"]["checks"]["kappa"]["n"] == 6
    assert len(read_jsonl(tmp_path / "judgements.jsonl")) == 6
    assert "NaN" not in (tmp_path / "summary.json").read_text()


def test_the_sheet_is_blind_balanced_and_kept(tmp_path: Path) -> None:
    rows = [scored(i, f"=답{i}\x00", hallucinated=i < 5, model=m) for m in ("Base", "v1") for i in range(50)]
    path = tmp_path / "labelling.csv"
    assert write_annotation_sheet(path, rows, size=40) == 40
    sheet = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    flagged = {row.key for row in rows if row.hallucinated}
    assert sum(row["key"] in flagged for row in sheet) == 10  # all there are
    assert "model" not in sheet[0]
    assert sheet[0]["answer"].startswith("'=")  # no formula for a spreadsheet
    assert read_annotations(path) == {}
    before = path.read_text()
    assert write_annotation_sheet(path, rows) == 0
    assert path.read_text() == before


def test_all_unreadable_labels_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("key,hallucinated\na,yes\nb,아니요\nc,\nd,maybe\ne,?\n")
    with pytest.raises(InvalidInputError) as caught:
        read_annotations(path)
    assert len(caught.value.problems) == 2
    path.write_text("\ufeffkey,hallucinated\na,Yes\nb,아니요\nc,\n")
    assert read_annotations(path) == {"a": True, "b": False}
    path.write_text("key,verdict\na,yes\n")
    with pytest.raises(InvalidInputError, match="hallucinated is missing"):
        read_annotations(path)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_annotations(tmp_path / "none.csv")


def test_rates_are_corrected_by_labels_drawn_unevenly() -> None:
    """Of 1,000 answers 200 are wrong. 150 of these and 40 correct ones are flagged; 60 of each are labelled."""
    truth = {f"a{i}": i < 200 for i in range(1000)}
    flagged = {f"a{i}": i < 150 or 200 <= i < 240 for i in range(1000)}
    drawn = [k for k in flagged if flagged[k]][::3][:60] + [k for k in flagged if not flagged[k]][::13][:60]
    found = agreement({k: truth[k] for k in drawn}, flagged, {"v1": list(flagged.values())})
    corrected = found.corrected["v1"]
    assert corrected.rate == pytest.approx(0.20, abs=0.06)
    assert corrected.interval is not None
    assert corrected.interval[0] < 0.20 < corrected.interval[1]
    unlabelled = agreement({}, flagged, {"v1": list(flagged.values())})
    assert unlabelled.corrected["v1"].rate is None
