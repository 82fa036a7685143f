"""The hold-out for small corpora: by document, by section, or refused; nearly equal chunks are never on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.validation.helpers import SETTINGS, chunk, read_rejects, read_report, read_rows, row, write_part

from insurance_rag.chunks.sections import section_name
from insurance_rag.config import ValidationConfig
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk, Question
from insurance_rag.validation.contamination import Split, make_split
from insurance_rag.validation.shingles import jaccard, shingles
from insurance_rag.validation.similar_texts import similar_pairs
from insurance_rag.validation.validate import validate_parts

STANDARD = "(준용규정)\n이 특별약관에 정하지 않은 사항은 보통약관을 따릅니다."


def article(chunk_id: str, headings: str, text: str, source: str = "pet.pdf") -> Chunk:
    made = chunk(chunk_id, text, source)
    return made.model_copy(
        update={"metadata": made.metadata.model_copy(update={"breadcrumbs": f"한빛 든든 암보험 > {headings}"})}
    )


POLICY = [
    article("g1", "보통약관 > 제1관 목적 > 제1조(목적)", "제1조(목적)\n암의 치료비를 지급하는 계약입니다."),
    article("g2", "보통약관 > 제2관 지급 > 제2조(청구)", "제2조(청구)\n보험금은 3영업일 이내에 지급합니다."),
    article("g3", "보통약관 > 제2관 지급 > 제3조(서류)", "제3조(서류)\n청구서와 진단서를 내야 합니다."),
    article("a1", "수술비 특별약관 > 제1조(수술비)", "제1조(수술비)\n수술 1회마다 수술비 100만원을 지급합니다."),
    article("a2", "수술비 특별약관 > 제2조(준용규정)", f"제2조{STANDARD}"),
    article("b1", "입원비 특별약관 > 제1조(입원비)", "제1조(입원비)\n입원 1일마다 입원비 5만원을 지급합니다."),
    article("b2", "입원비 특별약관 > 제2조(한도)", "제2조(한도)\n입원비는 180일을 한도로 지급합니다."),
    article("b3", "입원비 특별약관 > 제3조(준용규정)", f"제3조{STANDARD}"),
    article("c1", "별표 1", "<별표 1> 수술분류표: 1종부터 5종까지 있습니다."),
]


def question(*gold: str, text: str = "수술비는 얼마인가요?") -> Question:
    return Question(question_id="-".join(gold), question=text, type="fact", answerable=True, gold_chunk_ids=list(gold))


def split(*gold: str, chunks: list[Chunk] | None = None, **settings: object) -> Split:
    return make_split(chunks or POLICY, [question(*gold)], ValidationConfig.parse(settings))


def test_sections_are_riders_and_the_parts_of_the_general_conditions() -> None:
    assert {section_name(c) for c in POLICY} == {
        "pet.pdf > 보통약관 > 제1관 목적",
        "pet.pdf > 보통약관 > 제2관 지급",
        "pet.pdf > 수술비 특별약관",
        "pet.pdf > 입원비 특별약관",
        "pet.pdf > 별표 1",
    }
    assert section_name(article("m", "보장 > 수술 > 수술비", "수술비")) == "pet.pdf > 보장 > 수술"
    assert section_name(chunk("x").model_copy(update={"metadata": _without_headings()})) == "a.pdf"


def _without_headings() -> object:
    return chunk("x").metadata.model_copy(update={"breadcrumbs": ""})


def test_one_document_is_split_by_section() -> None:
    made = split("a1", "g2")
    assert made.held_out == {"a1", "a2", "g2", "g3"}
    assert made.summary.unit == "section"
    assert made.summary.sections == ["pet.pdf > 보통약관 > 제2관 지급", "pet.pdf > 수술비 특별약관"]
    assert made.summary.reason.startswith("2 of 5 sections are held out: holding out documents would leave 0 of 1")
    assert (made.summary.held_out_chunks, made.summary.training_chunks) == (4, 5)


def test_documents_are_held_out_if_two_others_are_left() -> None:
    others = [article(f"o{n}", "보통약관 > 제1조(가)", f"다른 문서 {n}의 내용입니다.", f"{n}.pdf") for n in range(2)]
    assert split("a1", chunks=[*POLICY, *others]).summary.documents == ["pet.pdf"]
    assert split("a1", chunks=[*POLICY, others[0]]).summary.sections == ["pet.pdf > 수술비 특별약관"]
    assert split("a1", chunks=[*POLICY, *others], holdout="section").summary.unit == "section"
    assert split("a1", chunks=[*POLICY, others[0]], holdout="document").held_out == {c.chunk_id for c in POLICY}


def test_a_standard_article_is_never_on_both_sides() -> None:
    as_gold = split("a1", "a2").summary
    assert (as_gold.leaking_chunks, as_gold.repeated_chunks) == (["b3"], [])
    not_gold = split("a1").summary
    assert (not_gold.leaking_chunks, not_gold.repeated_chunks) == ([], ["a2"])


def test_questions_about_every_section_are_refused_unless_chunks_are_held_out() -> None:
    every = ("g1", "g2", "a1", "b1", "c1")
    with pytest.raises(InvalidInputError, match=r"all 5 sections in 1 document, .*holdout=chunk, a weaker split"):
        split(*every)
    with pytest.raises(InvalidInputError, match=r"the only document, .*or set holdout=section"):
        split("a1", holdout="document")
    made = split(*every, holdout="chunk")
    assert made.held_out == set(every) and made.summary.chunks == sorted(every)
    assert "a weak split" in made.summary.reason
    repeats = [
        article("a", "가 특별약관 > 제1조", f"제1조{STANDARD}"),
        article("b", "나 특별약관 > 제9조", f"제9조{STANDARD}"),
    ]
    with pytest.raises(InvalidInputError, match="every chunk outside the held-out sections repeats a gold chunk"):
        split("a", chunks=repeats)


def test_rows_follow_the_split_of_the_sections(tmp_path: Path) -> None:
    texts = {c.chunk_id: c.text for c in POLICY}

    def made(n: int, chunk_id: str, asked: str, answer: str, **meta: str) -> dict[str, object]:
        texts_of_row = {"instruction": asked, "output": answer, "evidence": "", "input": texts[chunk_id]}
        return row(n, chunk_id=chunk_id, meta={"model": "teacher", "n": str(n), **meta}, **texts_of_row)

    rows = [
        made(1, "a1", "한빛 든든 암보험은 수술 한 번에 얼마를 주나요?", "제1조에 따르면 100만원을 지급합니다."),
        made(2, "a2", "수술비 특별약관에 없는 사항은 무엇을 따르나요?", "제2조에 따르면 보통약관을 따릅니다."),
        made(3, "b1", "한빛 든든 암보험은 입원 하루에 얼마를 주나요?", "제1조에 따르면 5만원을 지급합니다."),
        made(4, "b2", "입원비와 수술비의 한도를 함께 알려 주세요.", "제2조에 따라 180일입니다.", other_chunk_id="a1"),
        made(5, "b2", "수술비는 얼마 인가요??", "제2조에 따르면 180일을 한도로 지급합니다."),
        made(6, "b2", "입원비는 며칠까지 지급되나요?", "제2조에 따르면 180일을 한도로 지급합니다."),
    ]
    part = write_part(tmp_path / "dataset_part_1.json", rows)
    asked = question("a1", text="수술비는 얼마인가요? ")
    config = SETTINGS.model_copy(update={"rules": ("malformed", "leak")})
    validate_parts([part], POLICY, tmp_path / "out", config, questions=[asked])
    folder, report = DatasetFolder(tmp_path / "out"), read_report(tmp_path / "out")
    assert {r["chunk_id"] for r in read_rows(folder.heldout())} == {"a1"}
    trained = read_rows(folder.training("rag"))
    assert {r["chunk_id"] for r in trained} == {"b1", "b2"}
    assert not {i for r in trained for i in r["context_chunk_ids"]} & {"a1", "a2"}
    spans = {str(r["meta"]["n"]): r["span"] for r in read_rejects(tmp_path / "out")}
    assert spans == {
        "2": "a2 repeats a training chunk",
        "4": "needs a1, which training and evaluation must not share",
        "5": "수술비는 얼마 인가요??",
    }
    assert (report.training, report.held_out, report.split.unit) == (2, 1, "section")
    card = folder.card.read_text(encoding="utf-8")
    assert "1 of 5 sections are held out" in card and "- pet.pdf > 수술비 특별약관" in card
    assert "| training | 7 | 2 |" in card and "| held out | 2 | 1 |" in card


WORDS = st.lists(st.sampled_from(["가나", "다라마", "바사", "아자차", "카"]), max_size=8).map(" ".join)


@given(st.lists(WORDS, max_size=8), st.lists(WORDS, max_size=8), st.sampled_from([0.3, 0.6, 0.85, 1.0]))
def test_similar_texts_are_found_as_by_comparing_every_pair(a: list[str], b: list[str], limit: float) -> None:
    every = {
        (i, j) for i, x in enumerate(a) for j, y in enumerate(b) if jaccard(shingles(x, 3), shingles(y, 3)) >= limit
    }
    assert {(i, j) for i, found in similar_pairs(a, b, 3, limit) for j in found} == every
