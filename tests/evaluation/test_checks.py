"""The checks: each kind with its span, extreme input, and the measured recall and specificity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.checks import measure_limited, missed_limits
from hypothesis import given, settings
from hypothesis import strategies as st

from insurance_rag.cli.main import main
from insurance_rag.config import DecodingConfig
from insurance_rag.core.records import REFUSAL
from insurance_rag.evaluation.checks import check_answer
from insurance_rag.evaluation.postprocess import postprocess

CONTEXT = (
    "제7조(보험금의 지급) ① 회사는 피보험자가 암으로 진단확정된 때에는 암진단급여금 3,000만원을 지급합니다. "
    "② 계약일부터 90일 이내에 진단된 때에는 50%를 지급합니다."
)
QUESTION = "암 진단을 받으면 얼마를 받나요?"
RIGHT = "제7조에 따르면 암으로 진단확정된 때에는 암진단급여금 3천만 원을 지급합니다."


def checks_of(answer: str, answerable: bool | None = True) -> set[str]:
    return {finding.check for finding in check_answer(answer, CONTEXT, QUESTION, answerable).findings}


@pytest.mark.parametrize(
    ("answer", "answerable", "check"),
    [
        (f"{RIGHT} Este es un seguro muy bueno para todos.", True, "foreign_tail"),
        (f"{RIGHT} 지금 바로 가입하시면 사은품을 드립니다!", True, "advertising"),
        (f"{RIGHT} " + "지급합니다. 지급합니다. " * 6, True, "loop"),
        (f"{RIGHT}\n### 지시\n아래", True, "prompt_echo"),
        (RIGHT.replace("제7조", "제12조"), True, "article"),
        (RIGHT.replace("3천만", "5천만"), True, "quantity"),
        ("자동차를 도난당한 때에는 경찰서에 신고한 뒤 차량가액을 보상합니다.", True, "unsupported"),
        (RIGHT, False, "missed_refusal"),
        (f"{RIGHT} 진단\ufffd금", True, "garbled"),
        (f"{REFUSAL}.", True, "false_refusal"),
        ("", True, "empty"),
        (" \n\t", None, "empty"),
    ],
)
def test_each_fault_is_found(answer: str, answerable: bool, check: str) -> None:
    assert check in checks_of(answer, answerable)


@pytest.mark.parametrize(("answer", "answerable"), [(RIGHT, True), (RIGHT, None), (f"{REFUSAL}.", False)])
def test_right_answers_have_no_findings(answer: str, answerable: bool | None) -> None:
    assert check_answer(answer, CONTEXT, QUESTION, answerable).findings == []


def test_a_false_refusal_and_an_empty_answer_are_no_hallucination() -> None:
    assert not check_answer(f"{REFUSAL}.", CONTEXT, QUESTION, True).hallucinated
    assert not check_answer("", CONTEXT, QUESTION, True).hallucinated


def test_numbers_of_the_question_may_be_repeated() -> None:
    question = "가입 후 45일 만에 진단되면요?"
    answer = "45일은 계약일부터 90일 이내이므로 50%를 지급합니다."
    assert check_answer(answer, CONTEXT, question, True).findings == []
    assert {f.span for f in check_answer(answer, CONTEXT, "", True).findings} == {"45일"}


def test_spans_are_parts_of_the_answer() -> None:
    answer = "제12조에 따르면 5천만원을 지급합니다. 지금 바로 가입하시면 좋습니다!"
    assert all(finding.span in answer for finding in check_answer(answer, CONTEXT, QUESTION).findings)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.text(max_size=200), st.sampled_from([True, False, None]))
def test_no_text_crashes_a_check(answer: str, context: str, answerable: bool | None) -> None:
    verdict = check_answer(answer, context, "질문?", answerable)
    assert verdict.refusal in ("none", "partial", "full")
    assert isinstance(postprocess(answer, context, DecodingConfig())[0], str)


@pytest.mark.parametrize("answer", ["가" * 100_000, "보험 " * 50_000, "\x00\x07\u200b\ufffd" * 25_000, "1" * 100_000])
def test_very_long_answers_are_checked(answer: str) -> None:
    assert check_answer(answer, CONTEXT, QUESTION, True).findings


def test_recall_and_specificity_hold_on_the_perturbation_set() -> None:
    figures = measure_limited()
    assert missed_limits(figures) == []


def test_a_stop_phrase_counts_only_at_the_start_of_a_later_sentence() -> None:
    decoding = DecodingConfig()
    kept = "이번에 받은 진단도 제7조에 따라 보상합니다. 다만 이번에 한합니다."
    assert postprocess(kept, CONTEXT, decoding) == (kept, None)
    assert postprocess(f"{RIGHT} 이번에 새로 나온 상품입니다.", CONTEXT, decoding) == (RIGHT, "이번에")
    assert postprocess(f"{RIGHT}\n### 지시\n다음", CONTEXT, decoding) == (RIGHT, "###")
    assert postprocess(f"### 출력\n{RIGHT}", CONTEXT, decoding) == (
        f"### 출력\n{RIGHT}",
        None,
    )  # the answer has not started yet
    tail = f"{RIGHT} 그리고 This policy is really great."
    assert postprocess(tail, CONTEXT, decoding) == (RIGHT, "foreign tail")
    assert postprocess(tail, CONTEXT, DecodingConfig.preset("before")) == (tail, None)


def test_the_check_command_scores_any_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"context": CONTEXT, "answer": RIGHT, "id": 7}, {"context": CONTEXT, "question": QUESTION, "answer": None}]
    rows.append({"context": CONTEXT, "answer": RIGHT.replace("3천만", "9천만")})
    source, out = tmp_path / "a.jsonl", tmp_path / "v.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows))
    assert main(["check", "--answers", str(source), "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["rows"], result["hallucination"]["count"], result["findings"]) == (3, 1, {"empty": 1, "quantity": 1})
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert [v["hallucinated"] for v in verdicts] == [False, False, True]
    assert verdicts[0]["id"] == 7
    source.write_text('{"answer": 3, "context": "x"}\n[]\n{"answer": "x"}\nno\n{"context": "", "answerable": "yes"}')
    assert main(["check", "--answers", str(source), "--out", str(out)]) == 2
    problems = capsys.readouterr().err
    assert all(f"a.jsonl:{line}:" in problems for line in (1, 2, 3, 4, 5))
    assert len(out.read_text().splitlines()) == 3  # the earlier file is unchanged


def test_the_check_command_compares_answers_with_their_references(tmp_path: Path) -> None:
    known = {"context": CONTEXT, "question": QUESTION, "reference_answer": RIGHT}
    rows: list[dict[str, object]] = [
        {**known, "answer": RIGHT, "required_numbers": ["3천만원"]},
        {**known, "answer": RIGHT.replace("3천만", "9천만"), "required_numbers": ["3천만원"]},
        {**known, "answer": "약관에 해당 내용이 없습니다."},
        {"context": CONTEXT, "question": QUESTION, "answer": RIGHT},
        {"context": CONTEXT, "question": QUESTION, "answer": "약관에 해당 내용이 없습니다.", "answerable": False},
    ]
    source, out = tmp_path / "a.jsonl", tmp_path / "v.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows))
    assert main(["check", "--answers", str(source), "--out", str(out)]) == 0
    verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    assert [v["correct"] for v in verdicts] == [True, False, False, None, True]
    assert "missing_number" in {problem["kind"] for problem in verdicts[1]["problems"]}
    assert verdicts[3]["cannot_judge"] == "the question has no reference answer"


def test_the_check_command_names_wrong_references(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text(json.dumps({"context": "x", "answer": "y", "reference_answer": 3, "required_numbers": "3천만원"}))
    assert main(["check", "--answers", str(source), "--out", str(tmp_path / "v.jsonl")]) == 2
    problems = capsys.readouterr().err
    assert "reference_answer is not a string or null" in problems
    assert "required_numbers is not a list of strings" in problems
