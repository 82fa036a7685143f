"""Korean text analysis: what each function finds and what it must not find."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insurance_rag import korean
from insurance_rag.core.records import REFUSAL


def values(text: str) -> list[tuple[float, str]]:
    return [q.key for q in korean.quantities(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3,000만원", (3e7, "원")),
        ("3천만 원", (3e7, "원")),
        ("삼천만원", (3e7, "원")),
        ("1억 2,000만원", (1.2e8, "원")),
        ("1만 5천원", (15000, "원")),
        ("1.5억원", (1.5e8, "원")),
        ("백만원", (1e6, "원")),
        ("3영업일 이내", (3, "영업일")),
        ("1년", (12, "개월")),
        ("12개월", (12, "개월")),
        ("열두 달", (12, "개월")),
        ("2주 이내", (14, "일")),
        ("20 퍼센트", (20, "%")),
        ("100분의 50", (50, "%")),
        ("사흘 안에", (3, "일")),
        ("두 배", (2, "배")),
        ("만 15세 미만", (15, "세")),
        ("이십일 이내", (20, "일")),
        ("삼 개월", (3, "개월")),
        ("스물다섯 살", (25, "세")),
        ("３０일", (30, "일")),
        ("연 1회", (1, "회")),
    ],
)
def test_quantities_are_normalised(text: str, expected: tuple[float, str]) -> None:
    assert values(text) == [expected]


def test_ranges_state_both_ends() -> None:
    assert values("3~5일") == [(3, "일"), (5, "일")]
    assert values("1~2만원") == [(10000, "원"), (20000, "원")]
    assert values("10%~20%") == [(10, "%"), (20, "%")]


@pytest.mark.parametrize(
    "text", ["이 회사는", "사회적 일반 원칙", "2회사", "5일반", "이 일을 조회", "결국 한 회사가", "0" * 0]
)
def test_words_that_only_look_like_quantities(text: str) -> None:
    assert values(text) == []


def test_quantity_spans_point_at_the_text() -> None:
    text = "입원 1일당 3만원을 90일 한도로 지급합니다."
    assert [text[q.start : q.end] for q in korean.quantities(text)] == ["1일", "3만원", "90일"]


def test_unsupported_quantities_accept_other_spellings_and_calculated_results() -> None:
    context = "암 진단비 1,000만원을 지급합니다. 1년 이내에는 50%를 지급합니다. 입원 1일당 3만원."
    assert not korean.unsupported_quantities("천만원의 50%인 500만원, 12개월 이내입니다.", context)
    assert [q.text for q in korean.unsupported_quantities("500만원을 지급합니다.", context)] == ["500만원"]
    assert [q.text for q in korean.unsupported_quantities("90일 이후 1천만원.", context)] == ["90일"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("제7조에 따르면", (7, None, None, None)),
        ("제7조(보험금의 지급사유) 제1항에도 불구하고", (7, None, 1, None)),
        ("제59조의4에", (59, 4, None, None)),
        ("제7조 제1항 제2호", (7, None, 1, 2)),
        ("제7조의2제3항", (7, 2, 3, None)),
        ("7조에 의하면", (7, None, None, None)),
        ("제2호", (None, None, None, 2)),
    ],
)
def test_articles(text: str, expected: tuple[int | None, ...]) -> None:
    assert [a[:4] for a in korean.articles(text)] == [expected]


def test_an_amount_of_money_is_not_an_article() -> None:
    assert korean.articles("10조원의 자산, 조건과 항목") == []


def test_circled_paragraphs_and_numbered_items_support_a_reference() -> None:
    context = "제7조(지급)\n① 지급합니다.\n② 다음과 같습니다.\n1. 사망\n2. 장해"
    assert not korean.unsupported_articles("제7조 제2항 제1호에 따릅니다.", context)
    assert [a.text for a in korean.unsupported_articles("제8조와 제7조 제3항", context)] == ["제8조", "제7조 제3항"]


@pytest.mark.parametrize(
    "text",
    [
        REFUSAL,
        "'약관에 해당 내용이 없습니다.'",
        "해당 내용은 약관에 명시되어 있지 않습니다.",
        "죄송합니다. 해당 정보는 확인할 수 없습니다. 고객센터에 문의하시기 바랍니다.",
        "제공된 약관만으로는 답변드리기 어렵습니다.",
        "약관에서 해당 내용을 찾을 수 없어요.",
        "약관에 관련 규정이 없습니다.",
    ],
)
def test_full_refusals(text: str) -> None:
    assert korean.refusal(text) == "full"


@pytest.mark.parametrize(
    "text",
    [
        "제7조에 따르면 3,000만원입니다. 지급 시기는 약관에 명시되어 있지 않습니다.",
        "제7조에 따르면 3,000만원을 지급하지만, 지급 시기는 약관에 나와 있지 않습니다.",
    ],
)
def test_partial_refusals(text: str) -> None:
    assert korean.refusal(text) == "partial"


@pytest.mark.parametrize(
    "text",
    [
        "회사는 계약을 해지할 수 없습니다.",
        "피보험자의 생사를 알 수 없는 경우 보험금을 지급합니다.",
        "이 약관에서 정하지 않은 사항은 관계 법령을 따릅니다.",
        "보험증권에 기재되어 있지 않은 차량은 보상하지 않습니다.",
        "치아의 파절은 보장에 포함되지 않습니다.",
        "감액기간 없이 90일이 지나면 보장합니다.",
    ],
)
def test_denials_of_cover_are_not_refusals(text: str) -> None:
    assert korean.refusal(text) == "none"


def test_sentences_keep_decimals_markers_and_closers_together() -> None:
    text = '1. 이율은 4.0%입니다. "지급합니다." 그리고\n다음 줄'
    assert [s.text for s in korean.sentences(text)] == ["1. 이율은 4.0%입니다.", '"지급합니다."', "그리고", "다음 줄"]


@pytest.mark.parametrize(
    "text", ["지급합니다.", "지급한다", "가능해요", "그렇죠", '"지급합니다."', "지급합니다.) ", "되나요?", "됩니다」"]
)
def test_complete_endings(text: str) -> None:
    assert korean.ends_as_sentence(text)


@pytest.mark.parametrize("text", ["지급하며", "보험금을", "지급하는 경우(제7조)", "3,000만원", "", ")"])
def test_incomplete_endings(text: str) -> None:
    assert not korean.ends_as_sentence(text)


def test_incomplete_texts_that_end_like_a_sentence() -> None:
    assert all(korean.is_open_ended(t) for t in ("진단서가 필요", "1년마다", "지급하며..."))
    assert not any(korean.is_open_ended(t) for t in ("진단서가 필요합니다", "지급해요", "합니다."))


def test_cut_at_sentence_never_exceeds_the_limit() -> None:
    text = "첫 문장입니다. 둘째 문장입니다. 셋째"
    assert korean.cut_at_sentence(text, 18) == "첫 문장입니다. 둘째 문장입니다."
    assert korean.cut_at_sentence("가" * 30, 10) == "가" * 10
    assert korean.cut_at_sentence(text, 100) == text


def test_foreign_and_advertising_text() -> None:
    assert korean.foreign_tail("지급합니다. Este es un seguro de vida")
    assert korean.foreign_tail("지급합니다. これは保険です")
    assert korean.foreign_tail("MRI와 CT 검사, 개(犬)를 보장합니다.") is None
    assert korean.foreign_tail("KCD of Statistics Korea 기준", "KCD of Statistics Korea") is None
    assert korean.advertising("지급합니다. 이번에 새로 나온 상품을 만나보세요!")
    assert korean.advertising("이번에 진단받은 암은 보장합니다. 보험료를 할인합니다.") is None
    assert korean.hangul_share("보험 ab") == 0.5
    assert korean.hangul_share("123") == 1.0


def test_prompt_echo_and_repetition() -> None:
    assert korean.prompt_echo("### 입력\n[보험약관]")
    assert korean.prompt_echo("암 진단비는 얼마인가요? 3천만원입니다.", "암 진단비는 얼마인가요?")
    assert korean.prompt_echo("제7조에 따르면 질문 사항에 답합니다.") is None
    assert korean.repetition("보험금을 지급합니다. 보험금을 지급합니다.")
    assert korean.repetition("지급합니다 지급합니다 지급합니다 지급합니다")
    assert korean.repetition("네네네네네네네")
    assert korean.repetition("제7조 제1항과 제7조 제2항에 따라 지급하고, 제7조 제3항은 적용하지 않습니다.") is None


def test_clean_and_is_encodable() -> None:
    assert korean.clean("보험\u200b금\x00을\r\n지급") == "보험금을\n지급"
    assert korean.clean(unicodedata.normalize("NFD", "보험금")) == "보험금"
    assert not korean.is_encodable("보험\ud800")


@given(st.integers(1, 10**12))
def test_every_spelling_of_an_amount_has_the_same_value(value: int) -> None:
    ten_thousands, rest = divmod(value, 10**4)
    spelled = f"{rest}원" if rest or not ten_thousands else "원"
    if ten_thousands:
        spelled = f"{ten_thousands:,}만 {spelled}" if rest else f"{ten_thousands:,}만{spelled}"
    assert values(f"{value:,}원") == values(f"{value}원") == values(spelled) == [(value, "원")]


@given(st.text(max_size=300))
def test_any_text_can_be_analysed(text: str) -> None:
    clean = korean.clean(text)
    assert korean.clean(clean) == clean
    for sentence in korean.sentences(text):
        assert text[sentence.start : sentence.end] == sentence.text
    for function in (korean.quantities, korean.articles, korean.refusal, korean.repetition, korean.foreign_tail):
        function(text)


@given(st.text(alphabet="0123456789,.만억천백십이삼원일년개월% 제조항호의~분", max_size=60))
def test_any_text_of_numerals_can_be_analysed(text: str) -> None:
    for quantity in korean.quantities(text):
        assert text[quantity.start : quantity.end] == quantity.text
    korean.articles(text)


@pytest.mark.parametrize(
    "unit", ["1", "1,", "일", "일 ", "a", "a ", ".", "1만 ", "제1조", "①", "가나다라마바 ", "\n", "분의 1", "(", "~1"]
)
def test_long_texts_are_analysed_in_linear_time(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    started = time.perf_counter()
    for function in (
        korean.clean,
        korean.sentences,
        korean.quantities,
        korean.articles,
        korean.named_levels,
        korean.refusal,
        korean.foreign_tail,
        korean.advertising,
        korean.prompt_echo,
        korean.repetition,
        korean.is_open_ended,
    ):
        function(text)
    assert time.perf_counter() - started < 10


def test_abbreviations_and_words_of_the_context_are_not_foreign() -> None:
    context = "CT, MRI 및 PET 검사를 보장합니다. KCD of Statistics Korea 기준."
    assert korean.foreign_tail("제9조에 따르면 CT, MRI, PET 검사를 받은 경우입니다.", context) is None
    assert korean.foreign_tail("Statistics Korea, KCD 기준입니다.", context) is None
    assert korean.foreign_tail("지급합니다. Click here for more", context)


def test_thousands_of_quantities_are_compared_within_seconds() -> None:
    answer = " ".join(f"{n}만원과 {n}일" for n in range(1, 2000))
    started = time.perf_counter()
    korean.unsupported_quantities(answer, "1만원, 2만원, 3일")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(korean.__path__)])
def test_the_examples_in_docstrings_are_correct(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"{korean.__name__}.{name}"))
    assert result.failed == 0 and result.attempted > 0
