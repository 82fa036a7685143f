"""The smoke test of a served model: a real HTTP server, and an evaluation whose answers are mostly right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.fake_model import REFUSAL_ANSWER, FakeBackend, evaluate_with
from tests.evaluation.openai_server import HttpResponse, serving

from insurance_rag.chunks import read_questions
from insurance_rag.cli.main import main
from insurance_rag.core.files import read_jsonl
from insurance_rag.core.records import Question
from insurance_rag.evaluation import runner
from insurance_rag.evaluation.backends import open_backend

ASKED = 40


def reference(question: Question) -> str:
    return question.reference_answer or REFUSAL_ANSWER


@pytest.fixture(scope="module")
def evaluation(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an evaluation in which every answer is the reference."""
    out = tmp_path_factory.mktemp("evaluation")
    answers = {question.question_id: reference(question) for question in read_questions("sample")}
    evaluate_with(FakeBackend(answers), out, cache, ASKED)
    runner.open_backend = open_backend  # type: ignore[attr-defined]
    return out


def server_that_says(text: Callable[[int, Question], str]) -> Callable[[str, dict[str, Any]], HttpResponse]:
    """Return a server's handler. `text` gets the number of the question in the file, and the question."""
    questions = read_questions("sample")[:ASKED]

    def answer(path: str, body: dict[str, Any]) -> HttpResponse:
        if path == "/v1/models":
            return 200, {"data": [{"id": "tiny"}]}  # an adapter that is loaded on request is not listed yet
        if body["model"] != "v2-1a2b3c4d":
            return 404, {"error": {"message": f"The model {body['model']} does not exist."}}
        number = next(i for i, question in enumerate(questions) if question.question in body["prompt"])
        return 200, {"choices": [{"text": text(number, questions[number])}], "usage": {"completion_tokens": 9}}

    return answer


def arguments(evaluation: Path, url: str, *more: str) -> list[str]:
    named = ["--model", "Base", "--server", url, "--served-as", "v2-1a2b3c4d"]
    sample = ["--questions", "sample", "--chunks", "sample"]
    return ["smoke", "--evaluation", str(evaluation), *sample, *named, *more]


def test_a_server_that_answers_alike_passes(
    evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(server_that_says(lambda i, q: "" if i == 7 else reference(q) + "\n### 지시")) as url:
        argv = arguments(evaluation, url, "--n", str(ASKED), "--out", str(tmp_path / "answers.jsonl"))
        assert main([*argv, "--json"]) == 0
        result = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert result["equal"]["count"] == ASKED - 1 and result["equal"]["n"] == ASKED
        assert result["difference"]["n"] > ASKED / 2 and "repetition penalty" in result["notes"][0]
        different = [row["question_id"] for row in read_jsonl(tmp_path / "answers.jsonl") if not row["equal"]]
        assert different == [read_questions("sample")[7].question_id]
        assert main([*argv, "--min-equal", "0.99"]) == 4
        assert f"only {ASKED - 1} of {ASKED} answers are equal" in capsys.readouterr().err


def test_a_worse_server_exits_with_4(evaluation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(server_that_says(lambda i, q: reference(q) if i % 2 else "잘 모르겠지만 100만원입니다.")) as url:
        assert main(arguments(evaluation, url, "--n", str(ASKED))) == 4
        assert "is correct less often than Base" in capsys.readouterr().err


def test_wrong_names_settings_and_servers_are_reported(evaluation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(server_that_says(lambda i, q: reference(q))) as url:
        argv = arguments(evaluation, url)
        assert main([*argv, "--model", "v9"]) == 2
        assert main([*argv, "--served-as", "v3"]) == 2
        assert main([*argv, "--n", "0", "--min-equal", "90"]) == 2
        errors = capsys.readouterr().err
        for text in ("v9: was not evaluated; choose one of: Base", "v3 does not exist", "--n 0", "--min-equal 90.0"):
            assert text in errors
    assert main(arguments(evaluation, url)) == 3  # the server is down
    assert "is the server running" in capsys.readouterr().err
