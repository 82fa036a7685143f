"""The plan of the questions: who asks, in which register, and in which form."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.planning.conftest import MakeChunks

from insurance_rag.config import GenerationConfig
from insurance_rag.core.records import Chunk
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.question_plan import PlannedPair, cited_article, plan_pairs, second_article

N = 600


def make_spec(**settings: object) -> PromptSpec:
    return PromptSpec.from_config(GenerationConfig.model_validate(settings))


def all_pairs(chunks: list[Chunk], **settings: object) -> list[PlannedPair]:
    spec = make_spec(**settings)
    return [pair for chunk in chunks for pair in plan_pairs(spec, chunk)]


def with_text(chunk: Chunk, text: str) -> Chunk:
    return chunk.model_copy(update={"text": text})


def test_the_plan_depends_only_on_the_content(make_chunks: MakeChunks) -> None:
    chunk = make_chunks(1)[0]
    plan = plan_pairs(make_spec(pairs_per_type=3), chunk)
    assert plan == plan_pairs(make_spec(pairs_per_type=3), chunk.model_copy(update={"chunk_id": "elsewhere"}))
    assert [pair.type for pair in plan][:9] == ["fact"] * 3 + ["scenario"] * 3 + ["easy"] * 3
    assert len({(pair.persona, pair.register, pair.form) for pair in plan}) > 3


def test_the_note_describes_the_style() -> None:
    style = {"personas": ["60대 은퇴자"], "registers": ["편한 구어체"], "difficulties": ["쉬움"], "yes_no_share": 1}
    pairs = all_pairs([_chunk("제1조(목적) 약관입니다.")], types=["fact", "easy"], questions=style)
    answers = {"yes": "네", "no": "아니요"}
    assert pairs[0].note == f"60대 은퇴자, 편한 구어체, 쉬움, 예/아니요 질문(답은 {answers[pairs[0].form]})"
    assert pairs[1].note == f"60대 은퇴자, 편한 구어체, 예/아니요 질문(답은 {answers[pairs[1].form]})"


def test_the_shares_of_the_forms_are_as_configured(make_chunks: MakeChunks) -> None:
    pairs = all_pairs(make_chunks(N))
    forms = Counter((pair.type, pair.form) for pair in pairs)
    assert forms["scenario", "calculation"] / N == pytest.approx(0.2, abs=0.05)
    for kind in ("fact", "scenario", "easy"):
        assert forms[kind, "yes"] / N == pytest.approx(0.1, abs=0.04)
        assert forms[kind, "no"] / N == pytest.approx(0.1, abs=0.04)
    assert forms["fact", "calculation"] == forms["easy", "calculation"] == 0
    assert forms["unanswerable", "near_miss"] / N == pytest.approx(0.35, abs=0.06)
    registers = Counter(pair.register for pair in pairs)
    assert len(registers) == 3
    assert min(registers.values()) / len(pairs) == pytest.approx(1 / 3, abs=0.04)


def test_only_chunks_with_amounts_or_periods_get_calculations(make_chunks: MakeChunks) -> None:
    without = [with_text(chunk, f"제{n}조(목적) 약관의 목적입니다.") for n, chunk in enumerate(make_chunks(50))]
    questions = {"calculation_share": 1}
    assert "calculation" not in {pair.form for pair in all_pairs(without, questions=questions)}
    scenarios = all_pairs(make_chunks(50), types=["scenario"], questions={**questions, "near_miss_share": 0})
    assert {pair.form for pair in scenarios} == {"calculation"}


def test_near_misses_are_added_once(make_chunks: MakeChunks) -> None:
    chunk, always = make_chunks(1)[0], {"near_miss_share": 1}
    added = plan_pairs(make_spec(types=["fact"], pairs_per_type=2, questions=always), chunk)
    assert [pair.type for pair in added] == ["fact", "fact", "unanswerable"]
    planned = plan_pairs(make_spec(types=["fact", "unanswerable"], questions=always), chunk)
    assert [(pair.type, pair.form) for pair in planned][1:] == [("unanswerable", "near_miss")]


def test_a_prompt_without_items_gets_no_styles(make_chunks: MakeChunks) -> None:
    pairs = plan_pairs(make_spec(teacher="local", questions={"near_miss_share": 1}), make_chunks(1)[0])
    assert pairs == (PlannedPair("fact"), PlannedPair("scenario"), PlannedPair("easy"))


def test_a_question_can_need_the_cited_article(make_chunks: MakeChunks) -> None:
    chunk, other = make_chunks(2)
    chunk = with_text(chunk, f"{chunk.text}\n② 제5조에 따릅니다.")
    spec = make_spec(questions={"two_chunk_share": 1}, pairs_per_type=2)
    assert second_article(spec, chunk) == "제5조"
    assert second_article(make_spec(), chunk) is None
    scenarios = [pair for pair in plan_pairs(spec, chunk, other) if pair.type == "scenario"]
    assert [pair.form == "two_chunks" for pair in scenarios] == [True, False]
    assert "함께 볼 조항" in scenarios[0].note


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("제7조(지급)\n① 제5조의2(정의) 제1항에 따릅니다.", "제5조의2"),
        ("제7조(지급)\n① 제1항과 제7조에 따릅니다.", None),
        ("제7조(지급)\n상법 제651조 및 제652조에 따릅니다.", None),
        ("제7조(지급)\n「보험업법」 제2조와 개인정보 보호법 시행령 제3조에도 불구하고 제9조를 적용합니다.", "제9조"),
        ("제7조(지급)\n⌜전자서명법⌟ 제2조, 보통약관의 제4조와 특별약관(이하 생략) 제5조에 따릅니다.", None),
        ("특별약관은 제3조를 준용합니다.", "제3조"),
        ("보험금을 지급합니다.", None),
    ],
)
def test_the_cited_article_is_another_one_of_the_same_document(text: str, expected: str | None) -> None:
    assert cited_article(_chunk(text)) == expected


def _chunk(text: str) -> Chunk:
    metadata = {"source": "s", "company": "한빛", "breadcrumbs": "암보험", "token_count": 1, "policy_type": "암보험"}
    return Chunk.model_validate({"chunk_id": "c1", "text": text, "metadata": metadata})
