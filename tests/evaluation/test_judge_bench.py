"""The judge's bench, with a scripted judge whose errors are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.judge import careless_judgement, main, measure, samples
from tests.evaluation.openai_server import HttpResponse, serving

from insurance_rag.core.files import read_json


@pytest.mark.slow
def test_a_judge_with_known_errors_gets_their_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The judge misses every fourth hallucination, finds no other fault, and never sees that an answer is off topic."""
    rows = samples("report")
    lies = {row.answer for row in [row for row in rows if row.hallucinated][::4]}
    found_lies = {row.answer for row in rows if row.hallucinated} - lies

    def answer(path: str, body: dict[str, Any]) -> HttpResponse:
        prompt = body["messages"][0]["content"]
        context, text = prompt.split("[약관]\n")[1].split("\n\n[질문]")[0], prompt.split("[답변]\n")[1].rstrip()
        # "the insured event" is a claim without quantity, article or negation, so any long quote can support it
        claims = [{"claim": "보험사고", "supported": text not in found_lies, "evidence": context}]
        return 200, {"choices": [{"message": {"content": json.dumps({"claims": claims, "relevant": True})}}]}

    with serving(answer) as url:
        arguments = ["--judge", f"simulated@{url}", "--folder", str(tmp_path), "--out", str(tmp_path / "judge.json")]
        assert main(arguments) == 0
    figures = read_json(tmp_path / "judge.json")
    assert figures["judge"] == "simulated"
    assert figures["unusable"]["count"] == 0
    n = sum(row.hallucinated for row in rows)
    assert (figures["sensitivity"]["count"], figures["sensitivity"]["n"]) == (
        n - sum(r.answer in lies for r in rows),
        n,
    )
    assert figures["sensitivity"]["low"] < 0.75 < figures["sensitivity"]["high"]
    assert figures["sensitivity"]["clusters"] < n
    assert figures["specificity"]["rate"] == 1
    assert figures["off_topic_found"]["rate"] == 0
    assert figures["kinds"]["wrong: negated"]["hallucinated"]
    assert not any(figures["kinds"][row.kind]["hallucinated"] for row in rows if row.relevant is False)
    assert "| sensitivity | 0.7" in capsys.readouterr().out


@pytest.mark.slow
def test_quotes_expose_a_careless_judge() -> None:
    """A judge that supports everything must not pass for a good one: most wrong numbers, bounds and articles fail."""
    rows = samples("report")
    kinds = measure("careless", "report", rows, [careless_judgement(row) for row in rows]).kinds
    for kind, least in {"article": 0.8, "elsewhere": 0.8, "bound": 0.8, "invented": 0.7, "negated": 0.4}.items():
        assert (kinds[f"wrong: {kind}"].unusable.rate or 0) >= least
    for kind in ("short", "unit", "easy", "paraphrase", "sum"):
        assert (kinds[f"correct: {kind}"].unusable.rate or 0) <= 0.15
