"""The structure of Korean policies: parts, divisions, articles, appendices, and what only looks like a heading."""

from __future__ import annotations

import hashlib

import pytest

from insurance_rag.config.ingest import IngestConfig
from insurance_rag.core.records import Chunk
from insurance_rag.ingest.build import DocumentFacts, build_chunks
from insurance_rag.ingest.document import Document, Line, Table
from insurance_rag.ingest.outline import Outline
from insurance_rag.ingest.paragraphs import read_paragraphs
from insurance_rag.ingest.structure import read_outline
from insurance_rag.ingest.tables import table_lines


def document(text: str, pages: int = 0) -> Document:
    """Return a document with one line per line of `text`; a line `---` starts a page, and lines in `*` are large."""
    blocks, page = [], 1 if pages else 0
    for line in text.strip().split("\n"):
        if line == "---":
            page += 1
        elif line.strip():
            large = line.startswith("*")
            blocks.append(Line(line.strip("* "), page=page, size=(16.0 if large else 10.0) if pages else 0.0))
    return Document("policy.txt", hashlib.sha256(text.encode()).hexdigest(), "text", tuple(blocks), pages)


def outline(text: str, pages: int = 0) -> Outline:
    return read_outline(read_paragraphs(document(text, pages)), pages)


def articles(text: str, pages: int = 0) -> list[tuple[str, str]]:
    """Return (part, heading) of each article."""
    return [(s.part, s.heading) for s in outline(text, pages).sections if s.kind == "article"]


def chunks(text: str, **settings: int) -> list[Chunk]:
    found = outline(text)
    facts = DocumentFacts("doc", "policy.txt", "0" * 64, "한빛생명", found.title, "암보험")
    return [*build_chunks(found, facts, IngestConfig(**settings)).chunks]


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("제5조(수술의 정의와 장소) 이 계약에서 수술이란 절단하는 것을 말합니다.", "제5조(수술의 정의와 장소)"),
        ("제 5 조 【 수술의 정의 】", "제5조(수술의 정의)"),
        ("제5조[수술의 정의] ① 수술이란 절단하는 것입니다.", "제5조(수술의 정의)"),
        ("제5조 <수술의 정의>", "제5조(수술의 정의)"),
        ("제5조(부활(효력회복)의 절차)", "제5조(부활(효력회복)의 절차)"),
        ("제5조(연체하여 해지된 계약의\n부활(효력회복))", "제5조(연체하여 해지된 계약의 부활(효력회복))"),
        ("【제5조(수술의 정의)】", "제5조(수술의 정의)"),
        ("제5조 수술의 정의", "제5조(수술의 정의)"),
        ("제5조의 2 (수술의 정의)", "제5조의2(수술의 정의)"),
    ],
)  # fmt: skip
def test_forms_of_headings(line: str, heading: str) -> None:
    before = "".join(f"제{n}조(제목{n})\n내용입니다.\n" for n in range(1, 6 if "의 2" in line else 5))
    assert articles(f"보통약관\n{before}{line}\n내용입니다.")[-1] == ("보통약관", heading)


@pytest.mark.parametrize(
    "line",
    [
        "제3조(지급사유)에 따라 회사는 지급합니다.",
        "제3조(지급사유) 제1항에서 정한 금액",
        "제3조(지급사유) 에도 불구하고 지급하지 않습니다.",
        "제3조(지급사유), 제4조(면책) 및 제9조(청구)를 준용합니다.",
        "【수의사법 제3조(진단서 등)】",
        "상법 제651조(고지의무위반)에 따라 해지합니다.",
        "제651조(고지의무위반으로 인한 계약해지)",
        "제3조를 따릅니다.",
        "제3조(지급사유) ······· 12",
    ],
)
def test_references_and_quoted_laws_are_not_headings(line: str) -> None:
    before, after = (
        "보통약관\n제1조(목적)\n목적입니다.\n제2조(정의)\n정의입니다.",
        "계속됩니다.\n제3조(지급사유)\n지급합니다.",
    )
    text = f"{before}\n{line}\n{after}"
    found = outline(text)
    assert [s.heading for s in found.sections] == ["제1조(목적)", "제2조(정의)", "제3조(지급사유)"]
    assert line in [p.text for p in found.sections[1].paragraphs]
    assert found.warnings == ()


POLICY = """
무배당 가온 종신보험
약관
가입자 유의사항
제2조(정의)를 확인하십시오.
목 차
제1관 목적
제1조 목적
제2조 정의
무배당 재해사망특약 약관
제1조 체결
무배당 가온 종신보험 약관
제 1 관 목적
제 1 조 【목적】
이 계약은 목적이 있습니다.
제 2 관 지급
제 2 조 【정의】
다음과 같습니다.
① 사망은 사망입니다.
(별표 1) 지급기준표
사망보험금: 1억원
무배당 재해사망특약 약관
제1조(체결)
이 특약은 주계약에 부가합니다.
1-2. 암진단비
(갱신형) 특별약관
제1조(체결) 암으로 진단된 때 지급합니다.
약관에서 인용된 법·규정
상법
제638조의3(보험약관의 교부)
보험자는 설명하여야 한다.
"""


def test_parts_divisions_appendices_and_laws() -> None:
    found = outline(POLICY)
    assert found.title == "무배당 가온 종신보험"
    assert [(s.part, s.divisions, s.heading) for s in found.sections] == [
        ("가입자 유의사항", (), ""),
        ("약관", ("제1관 목적",), "제1조(목적)"),
        ("약관", ("제2관 지급",), "제2조(정의)"),
        ("약관", (), "(별표 1) 지급기준표"),
        ("무배당 재해사망특약 약관", (), "제1조(체결)"),
        ("암진단비 (갱신형) 특별약관", (), "제1조(체결)"),
        ("약관에서 인용된 법·규정", (), ""),
    ]
    reasons = {left.paragraph.text: left.reason for left in found.left_out}
    assert reasons["목차"] == reasons["제1조 목적"] == "contents"
    assert reasons["무배당 가온 종신보험"] == "cover"


def test_names_of_parts_in_larger_type_without_the_word_for_policy() -> None:
    main_part = "*가온 상해보험 보통약관\n제1조(목적)\n목적입니다."
    special_part = "*골절 진단비\n제1조(지급)\n지급합니다.\n제2조(준용)\n준용합니다."
    assert articles(f"{main_part}\n---\n{special_part}", pages=2) == [
        ("보통약관", "제1조(목적)"),
        ("골절 진단비", "제1조(지급)"),
        ("골절 진단비", "제2조(준용)"),
    ]


def test_a_quoted_law_with_the_number_of_the_next_article() -> None:
    law = "【여신금융법】\n제3조(정의)\n① 신용카드업자란 허가를 받은 자를 말한다.\n제4조(허가)\n허가를 받아야 한다."
    before = "보통약관\n제1조(목 적)\n목적입니다.\n제2조(정의)\n정의입니다."
    text = f"{before}\n{law}\n제3조(지급)\n지급합니다.\n제4조(면책)\n아닙니다."
    assert [heading for _, heading in articles(text)] == ["제1조(목적)", "제2조(정의)", "제3조(지급)", "제4조(면책)"]


def test_a_supplement_with_articles_of_its_own() -> None:
    before = "보통약관\n제1조(목적)\n목적입니다.\n부칙\n제1조(시행일)\n시행합니다."
    assert articles(f"{before}\n1-1. 골절 진단비\n제1조(지급)\n지급합니다.") == [
        ("보통약관", "제1조(목적)"),
        ("부칙", "제1조(시행일)"),
        ("골절 진단비", "제1조(지급)"),
    ]


def test_gaps_and_repeated_numbers_are_reported() -> None:
    text = "보통약관\n제1조(가)\n하나입니다.\n제3조(다)\n셋입니다.\n제3조(라)\n또 셋입니다.\n제4조(마)\n넷입니다."
    missing, repeated = outline(text).warnings
    assert "제3조(다) follows 제1조; check whether 제2조 is missing" in missing
    assert "제3조(라) has the same number" in repeated
    ids = [chunk.chunk_id for chunk in chunks(text)]
    assert ids == ["doc/보통약관/제1조", "doc/보통약관/제3조-다", "doc/보통약관/제3조-라", "doc/보통약관/제4조"]


def test_a_document_without_articles_is_divided_at_headings_or_pages() -> None:
    by_headings = outline(
        "*안내\n처음입니다.\n*보상하는 손해\n보상합니다.\n*보상하지 않는 손해\n보상하지 않습니다.", pages=1
    )
    assert [s.part for s in by_headings.sections] == ["안내", "보상하는 손해", "보상하지 않는 손해"]
    by_pages = outline("처음입니다.\n---\n다음입니다.", pages=2)
    assert [s.part for s in by_pages.sections] == ["1쪽", "2쪽"]
    assert "no articles (제N조) found; and no headings either; divided at the pages" in by_pages.warnings[0]


LONG = "회사는 보험금을 지급합니다. " * 12


def test_long_articles_are_split_at_paragraphs_and_items_with_heading_and_introduction() -> None:
    items = "\n".join(f"{n}. 제{n}호의 사유 {LONG}" for n in range(1, 6))
    law = f"【수의사법 제12조】\n① {LONG}\n② {LONG}"
    text = f"보통약관\n제1조(지급)\n① 짧습니다.\n② 짧습니다.\n{law}\n③ 다음의 사유입니다.\n{items}\n④ 끝입니다."
    pieces = chunks(text, max_characters=600)
    assert all(chunk.text.startswith("제1조(지급)\n") and len(chunk.text) <= 600 for chunk in pieces)
    ids = [chunk.chunk_id.removeprefix("doc/보통약관/제1조/") for chunk in pieces]
    assert ids == ["1", "3", "3.3", "3.5", "4"]
    last_items = pieces[ids.index("3.5")].text
    assert last_items.startswith("제1조(지급)\n③ 다음의 사유입니다.\n5. 제5호의 사유")
    assert "수의사법" in pieces[0].text  # its own ① and ② are not paragraphs of the article


def test_a_longer_paragraph_changes_only_its_own_piece() -> None:
    before = [f"{mark} {LONG}" for mark in "①②③④⑤⑥⑦⑧"]
    after = [*before[:1], f"② {LONG * 2}", *before[2:]]
    old, new = (chunks("보통약관\n제1조(지급)\n" + "\n".join(lines), max_characters=500) for lines in (before, after))
    unchanged = {c.chunk_id: c.text for c in old}.items() & {c.chunk_id: c.text for c in new}.items()
    assert [c.chunk_id[-1] for c in old] == ["1", "3", "5", "7"]
    assert len(unchanged) == 3


def test_tables_name_row_and_column_in_each_line() -> None:
    rates = Table((("보 험 기 간", "단 기 요 율"), ("7일까지", "연요율의 10%"), ("15일까지", "연요율의 15%")))
    assert table_lines(rates)[1:] == ["7일까지: 단기요율 연요율의 10%", "15일까지: 단기요율 연요율의 15%"]
    merged = Table((("구분", "기간", "이자"), ("보험금", "30일 이내", "이율"), ("보험금", "60일 이내", "이율+4%")))
    assert table_lines(merged)[1:] == ["보험금 / 30일 이내: 이자 이율", "보험금 / 60일 이내: 이자 이율+4%"]
    two_rows = Table((("구분", "입원", "입원"), ("구분", "1일당", "연간"), ("고급형", "3만원", "300만원")))
    assert table_lines(two_rows)[1:] == ["고급형: 입원 / 1일당 3만원, 입원 / 연간 300만원"]
    assert table_lines(Table((("【용어】 설명입니다.",),))) == ["【용어】 설명입니다."]


def test_large_tables_are_split_with_their_header() -> None:
    rows = tuple((f"{n}급", f"{n}00만원") for n in range(1, 60))
    table = Table((("장해등급", "지급금액"), *rows))
    blocks = (Line("보통약관"), Line("제1조(장해)"), Line("다음과 같습니다."), table)
    found = read_outline(read_paragraphs(Document("x", "0" * 64, "text", blocks)), 0)
    facts = DocumentFacts("doc", "x", "0" * 64, "", "상품", "보험")
    built = build_chunks(found, facts, IngestConfig(max_characters=400)).chunks
    assert len(built) > 2 and all("장해등급 | 지급금액\n" in chunk.text for chunk in built)
    assert "59급: 지급금액 5900만원" in built[-1].text


def test_references_lead_to_the_chunks_of_the_same_part_or_of_the_named_one() -> None:
    text = (
        "보통약관\n제1조(목적)\n목적입니다.\n제2조(지급)\n① 제1조(목적)와 상법 제1조에 따릅니다.\n"
        "골절 특별약관\n제1조(지급)\n보통약관 제2조(지급) 제1항을 따르고, 보험업감독규정 제4-1조 제3항에 따릅니다.\n"
        "제2조(준용)\n이 특별약관 제1조(지급)에 따릅니다."
    )
    found = {chunk.chunk_id: chunk.metadata.references for chunk in chunks(text)}  # type: ignore[attr-defined]
    assert found == {
        "doc/보통약관/제1조": [],
        "doc/보통약관/제2조": ["doc/보통약관/제1조"],
        "doc/골절-특별약관/제1조": ["doc/보통약관/제2조"],
        "doc/골절-특별약관/제2조": ["doc/골절-특별약관/제1조"],
    }
