"""The LLM judge, over HTTP: which judgements are usable, what they conclude, and how they are summarized."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.evaluation.openai_server import HttpResponse, serving

from insurance_rag.core.errors import InvalidInputError, KeyRejectedError
from insurance_rag.evaluation.judge import Judgement, judge_answers, summarize_judgements
from insurance_rag.evaluation.judge.evidence import (
    ARTICLE_DIFFERS,
    BOUND_DIFFERS,
    NO_QUOTE,
    NOT_LITERAL,
    POLARITY_DIFFERS,
    QUANTITY_MISSING,
    SHORT_QUOTE,
)
from insurance_rag.evaluation.judge.judgements import NO_CLAIMS, NOT_JSON
from insurance_rag.evaluation.judge.quotes import contains_quote

CONTEXT = """제7조(암진단급여금의 지급) 회사는 피보험자가
암으로 진단이 확정된 때에는 암진단급여금 3,000만원을 지급합니다.
다만, 계약일부터 1년 미만인 때에는 암진단급여금의 50%를 지급합니다.
4일 이상 계속 입원한 때에는 입원급여금을 지급합니다.
제8조(보험금을 지급하지 않는 사유) 회사는 다음 각 호의 경우에는 보험금을 지급하지 않습니다.
1. 피보험자가 고의로 자신을 해친 경우"""
PAID = "암으로 진단이 확정된 때에는 암진단급여금 3,000만원을 지급합니다."
ANSWER = "암으로 진단되면 3,000만원을 지급합니다."


class Asked(NamedTuple):
    """An answer that is sent to the judge."""

    question_id: str = "q1"
    answer: str = ANSWER
    model: str = "v1"
    question: str = "암진단급여금은 얼마인가요?"
    context: str = CONTEXT

    @property
    def key(self) -> str:
        return f"{self.model} {self.question_id}"


def claim(text: str, evidence: str | list[str] | None = PAID, supported: bool = True) -> dict[str, Any]:
    return {"claim": text, "supported": supported, "evidence": evidence}


def output(*claims: dict[str, Any], relevant: bool = True) -> str:
    return json.dumps({"claims": claims, "relevant": relevant}, ensure_ascii=False)


def chat(text: str) -> HttpResponse:
    return 200, {"choices": [{"message": {"content": text}}]}


def judged(folder: Path, says: str, asked: Asked | None = None) -> Judgement:
    """Return the judgement from a judge that always writes the same."""
    with serving(lambda *_: chat(says)) as url:
        return judge_answers([asked or Asked()], f"gpt@{url}", folder)[0]


TRUE = claim("암으로 진단되면 3,000만원을 지급한다")
LIE = claim("진단 전에도 지급한다", None, supported=False)


@pytest.mark.parametrize(
    "claims",
    [
        [TRUE],
        [claim("3,000만원을 지급한다", "암진단급여금 3,000만원을\n지급합니다.")],
        [claim("3,000만원을 지급한다", "‘암진단급여금’ ３，０００만 원을 지급합니다")],
        [claim("3,000만원을 지급한다", "진단 확정된 때에 암진단급여금 3,000만원을 지급합니다")],
        [claim("1년이 안 되었으면 절반을 받는다", "계약일부터 1년 미만인 때에는 암진단급여금의 50%를 지급합니다.")],
        [claim("4일 이상 입원하면 입원급여금이 나온다", "4일 이상 계속 입원한 때에는 입원급여금을 지급합니다.")],
        [claim("고의로 자신을 해치면 지급하지 않는다", "1. 피보험자가 고의로 자신을 해친 경우")],  # the lead denies
        [claim("1년 미만이면 3,000만원의 50%인 1,500만원이다", [PAID, "1년 미만인 때에는 암진단급여금의 50%를"])],
        [claim("제7조에 따라 3,000만원을 지급한다")],
        [TRUE, claim("3,000만 원", "암진단급여금 3,000만원을 지급합니다.")],
    ],
)
def test_a_claim_with_a_quote_that_says_the_same_is_supported(tmp_path: Path, claims: list[dict[str, Any]]) -> None:
    found = judged(tmp_path, "생각해 보면...\n" + output(*claims) + "\n끝")
    assert (found.unusable, found.hallucinated, found.relevant, found.tries) == (None, False, True, 1)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (output(), NO_CLAIMS),
        (output(claim("암이면 9,000만원이다", "회")), SHORT_QUOTE),
        (output(claim("암이면 3,000만원을 지급하지 않는다")), POLARITY_DIFFERS),
        (output(claim("고의로 자신을 해쳐도 보험금을 지급한다", "고의로 자신을 해친 경우")), POLARITY_DIFFERS),
        (output(claim("암이면 2,000만원을 지급한다")), QUANTITY_MISSING),
        (output(claim("4일 이하 입원하면 나온다", "4일 이상 계속 입원한 때에는 입원급여금을")), BOUND_DIFFERS),
        (output(claim("제8조에 따라 3,000만원을 지급한다")), ARTICLE_DIFFERS),
        (output(claim("3,000만원을 지급한다", "암진단급여금은 3,000만원으로 정합니다.")), NOT_LITERAL),
        (output(claim("3,000만원을 지급한다", "암진단급여금 3,00만원을 지급합니다.")), NOT_LITERAL),
        (output(claim("3,000만원을 지급한다", "피보험자는 회사가 암으로 진단이 확정된 때에는")), NOT_LITERAL),
        (output(TRUE, claim("3,000만원을 지급한다", None)), NO_QUOTE),
        ("네, 좋은 답변입니다!", NOT_JSON),
        ("[1, 2]", NOT_JSON),
        ('{"claims": [{"claim": " ", "supported": true}]}', NOT_JSON),
        ("", NOT_JSON),
    ],
)
def test_a_judgement_without_evidence_is_unusable(tmp_path: Path, says: str, reason: str) -> None:
    found = judged(tmp_path, says)
    assert (found.hallucinated, found.unusable, found.tries) == (None, reason, 2)


def test_a_wrong_quote_does_not_void_an_unsupported_claim(tmp_path: Path) -> None:
    misquoted = claim("3,000만원을 지급한다", "지어낸 약관 문장입니다. 3,000만원을 지급합니다.")
    found = judged(tmp_path, output(misquoted, LIE))
    assert (found.hallucinated, found.unusable) == (True, None)
    assert [c.unverified for c in found.claims] == [NOT_LITERAL, None]


def test_a_quantity_of_the_question_needs_no_quote_unless_the_quote_states_another(tmp_path: Path) -> None:
    asked = Asked(question="8,000만원을 받을 수 있나요? 암 진단을 받았습니다.")
    assert judged(tmp_path / "a", output(claim("8,000만원을 지급한다")), asked).unusable == QUANTITY_MISSING
    assert judged(tmp_path / "b", output(claim("8,000만원이 아니라 3,000만원을 지급한다")), asked).unusable is None


@pytest.mark.parametrize(("answer", "usable"), [("약관에 해당 내용이 없습니다.", True), (ANSWER, False), (" ", True)])
def test_only_an_answer_that_states_nothing_may_have_no_claims(tmp_path: Path, answer: str, usable: bool) -> None:
    found = judged(tmp_path, output(), Asked(answer=answer))
    assert found.hallucinated is (False if usable else None)


def test_refusals_have_no_relevance_and_empty_answers_are_not_relevant(tmp_path: Path) -> None:
    assert judged(tmp_path / "a", output(), Asked(answer="약관에 해당 내용이 없습니다.")).relevant is None
    empty = judged(tmp_path / "b", output(), Asked(answer=""))
    assert (empty.relevant, empty.tries) == (False, 0)
    off_topic = judged(tmp_path / "c", output(TRUE, relevant=False))
    assert (off_topic.relevant, off_topic.hallucinated) == (False, False)


def test_an_unusable_output_is_requested_once_more_and_both_are_stored(tmp_path: Path) -> None:
    calls: list[str] = []

    def answer(path: str, body: dict[str, Any]) -> HttpResponse:
        text = body["messages"][0]["content"]
        calls.append(text)
        if "never!" in text or "[이전 출력]" not in text:
            return chat(output())
        return chat(output(TRUE))

    rows = [Asked("q1"), Asked("q2", "never! 지급합니다."), Asked("q3", model="v2"), Asked("q4", "")]
    with serving(answer) as url:
        found = judge_answers(rows, f"gpt@{url}", tmp_path)
        assert len(calls) == 4  # q1 and q3 are the same text; the empty answer is not sent
        assert judge_answers(rows, f"gpt@{url}", tmp_path) == found
        assert len(calls) == 4
    assert len((tmp_path / "judge.journal.jsonl").read_text().splitlines()) == 4
    assert [judgement.tries for judgement in found] == [2, 2, 2, 0]
    assert [judgement.hallucinated for judgement in found] == [False, None, False, False]
    clusters = {row.question_id: row.question_id for row in rows}
    figures = summarize_judgements("gpt", found, ["v1", "v2"], clusters).models["v1"]
    assert (figures.second_tries, figures.recovered, figures.unusable) == (2, 1, {NO_CLAIMS: 1})
    assert (figures.hallucination.count, figures.hallucination.n) == (0, 2)


def test_models_are_compared_on_questions_with_both_verdicts(tmp_path: Path) -> None:
    """v1 hallucinates in 8 of 10 answers and v2 in none; v2 has one unusable judgement and is off topic twice."""
    rows = [Asked(f"q{i}", f"{model}-{i}! 지급합니다.", model) for model in ("v1", "v2") for i in range(10)]

    def says(text: str) -> str:
        model, i = text.rsplit("[답변]\n", 1)[1].split("!")[0].split("-")
        if model == "v1":
            return output(LIE if int(i) < 8 else TRUE)
        return "?" if i == "0" else output(TRUE, relevant=int(i) > 2)

    def answer(path: str, body: dict[str, Any]) -> HttpResponse:
        return chat(says(body["messages"][0]["content"].split("\n[이전 출력]")[0]))

    with serving(answer) as url:
        found = judge_answers(rows, f"gpt@{url}", tmp_path)
    summary = summarize_judgements("gpt", found, ["v1", "v2"], {row.question_id: row.question_id for row in rows})
    hallucination, relevance = summary.tests
    assert (hallucination.metric, hallucination.n, hallucination.only_a, hallucination.only_b) == (
        "judged_hallucination", 9, 7, 0,
    )  # fmt: skip
    assert hallucination.p == pytest.approx(2 / 2**7)
    assert (relevance.metric, relevance.n, relevance.only_a, relevance.only_b) == ("judged_relevance", 9, 2, 0)
    assert summary.models["v2"].relevance.rate == pytest.approx(7 / 9, abs=1e-4)


@pytest.mark.parametrize("judge", ["gpt", "@http://127.0.0.1:1/v1", "gpt@"])
def test_a_judge_without_model_or_address_is_rejected(tmp_path: Path, judge: str) -> None:
    with pytest.raises(InvalidInputError, match="MODEL@BASE_URL"):
        judge_answers([Asked()], judge, tmp_path)


def test_judge_that_rejects_the_key_stops_the_run(tmp_path: Path) -> None:
    with serving(lambda *_: (401, "no such key")) as url, pytest.raises(KeyRejectedError, match="401"):
        judge_answers([Asked()], f"gpt@{url}", tmp_path)


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("3,000만원을지급합니다", True),
        ("진단이 확정된 때에 암진단급여금", True),
        ("진단은 확정된 때에는", True),
        ("진단을 확정된 때에는", False),  # another role
        ("13,000만원을 지급합니다", False),
        ("000만원을 지급합니다", False),  # a part of 3,000만원
        ("300만원을 지급합니다", False),
        ("지급하지 않습니다. 피보험자", False),
        ("", False),
        ("...", False),
    ],
)
def test_quotes_tolerate_spaces_punctuation_and_particles(quote: str, found: bool) -> None:
    assert contains_quote(CONTEXT, quote) is found


def test_a_decimal_point_is_not_ignored() -> None:
    assert contains_quote("연 4.5%의 이율", "연 4.5 %의 이율")
    assert not contains_quote("연 4.5%의 이율", "연 45%의 이율")
    assert not contains_quote("연 4.5%의 이율", "5%의 이율")


def test_long_quotes_and_loops_take_little_time() -> None:
    start = time.monotonic()
    assert not contains_quote("이 가 " * 2000, "이이 가가 " * 1000 + "끝")
    assert not contains_quote(CONTEXT, "보험금을 지급합니다. " * 10_000)
    assert time.monotonic() - start < 5
