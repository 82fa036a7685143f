"""Reads PDF files: order of the text, paragraphs, tables, and what does not belong to the text."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from reportlab.lib.utils import ImageReader
from tests.ingest.pdf_pages import HEIGHT, PITCH, WIDTH, Pages, body, wrap, write_articles

from insurance_rag.ingest.document import Document, Line, Table, join_lines
from insurance_rag.ingest.readers import read_document


def paragraphs(document: Document) -> list[str]:
    return join_lines([block for block in document.blocks if isinstance(block, Line)]).split("\n")


def tables(document: Document) -> list[Table]:
    return [block for block in document.blocks if isinstance(block, Table)]


def removed(document: Document, reason: str) -> list[str]:
    return [r.text for r in document.removed if r.reason == reason]


def articles(*numbers: int) -> list[str]:
    return [text for n in numbers for text in (f"제{n}조(보상하는 손해 {n})", body(n))]


@pytest.mark.parametrize("spaces", [True, False], ids=["spaces kept", "spaces lost"])
def test_lines_of_a_paragraph_are_joined_without_breaking_words(tmp_path: Path, spaces: bool) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    texts = [
        "계약자는 보험수익자를 변경할 수 있으며 이 경우에는 회사의 승낙이 필요하지 않습니다. 다만, 변경된 보험수익자가 "
        "회사에 권리를 대항하기 위해서는 계약자가 보험수익자가 변경되었음을 회사에 통지하여야 합니다.",
        "② 회사는 제1항에 따라 계약자를 변경한 경우, 변경된 계약자에게 보험증권 및 약관을 교부하고 변경된 계약자가 "
        "요청하는 경우 약관의 중요한 내용을 설명하여 드립니다.",
        "1. 보험증권에 기재된 피보험자",
        "2. 피보험자 본인의 배우자 및 생계를 같이 하는 동거 친족으로서 회사가 정하는 방법에 따라 확인된 사람을 "
        "말합니다.",
        "가. 국내에 주소를 둔 사람",
        "나. 그 밖에 회사가 인정하는 사람",
    ]
    y = 120.0
    for text in texts:
        y = pages.flow(80, y, 430, text, spaces)
    pages.end_page()
    assert paragraphs(read_document(pages.save())) == texts


def test_a_sentence_that_continues_with_what_looks_like_an_item_or_a_heading_stays_one_paragraph(
    tmp_path: Path,
) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    first = "① 회사는 계약이 해지된 경우에 계약자에게 돌려드릴 보험료가 있을 때에는 환급금으로서 "
    second = "제33조(보험료의 환급)에 따른 보험료를 계약자에게 지급하며, 그 금액은 회사가 정하는 바에 따릅니"
    third = "다. 다만, 부득이한 사유가 있는 때에는 그러하지 않습니다."
    width = 430.0
    for i, text in enumerate((first, second, third)):
        spread = text.rstrip()
        pages.canvas.setFont("HYGothic-Medium", 10)
        space = 0.0 if i == 2 else (width - pages.canvas.stringWidth(spread, "HYGothic-Medium", 10)) / (len(spread) - 1)
        pages.canvas.drawString(80, HEIGHT - 120 - i * PITCH, text, charSpace=space)
    write_articles(pages, 34, 3, y=200)
    pages.end_page()
    assert paragraphs(read_document(pages.save())) == [first + second + third, *articles(34, 35, 36)]


def test_headers_footers_and_page_numbers_are_removed_and_recorded(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    for number in range(1, 7):
        pages.text(80 if number % 2 else 400, 50, "무배당 한빛 종합보험 약관")
        write_articles(pages, 4 * number - 3, 4)
        pages.centered(800, f"- {number} -")
        pages.text(80, 820, "한빛손해보험주식회사")
        pages.end_page()
    document = read_document(pages.save())
    assert paragraphs(document) == articles(*range(1, 25))
    assert removed(document, "page_number") == [f"- {n} -" for n in range(1, 7)]
    assert removed(document, "header") == ["무배당 한빛 종합보험 약관"] * 6
    assert removed(document, "footer") == ["한빛손해보험주식회사"] * 6
    assert document.n_pages == 6 and document.blocks[0].page == 1 and document.blocks[-1].page == 6


def test_the_same_heading_at_the_top_of_each_page_is_no_header(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    for number in range(1, 6):
        pages.text(80, 90, f"{'가나다라마'[number - 1]}보장 특별약관")
        write_articles(pages, 1, 2)
        pages.centered(800, str(number))
        pages.end_page()
    document = read_document(pages.save())
    expected = [text for name in "가나다라마" for text in (f"{name}보장 특별약관", *articles(1, 2))]
    assert paragraphs(document) == expected
    assert len(removed(document, "page_number")) == 5


def test_columns_on_a_part_of_the_page_are_read_one_after_the_other(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    pages.centered(90, "제1관 일반사항 및 용어의 정의", 14)
    write_articles(pages, 1, 1)
    write_articles(pages, 2, 3, x=80, y=220, width=200)
    write_articles(pages, 5, 3, x=310, y=220, width=200)
    write_articles(pages, 8, 2, y=600)
    pages.end_page()
    expected = ["제1관 일반사항 및 용어의 정의", *articles(*range(1, 10))]
    assert paragraphs(read_document(pages.save())) == expected


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_pages_are_read_as_upright_ones(tmp_path: Path, turn: int) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    write_articles(pages, 1, 2)
    pages.end_page()
    pages.canvas.setPageRotation(turn)
    if turn == 180:
        pages.canvas.translate(WIDTH, HEIGHT)
        pages.canvas.rotate(180)
    else:
        pages.canvas.translate(*((HEIGHT, 0) if turn == 90 else (0, WIDTH)))
        pages.canvas.rotate(turn if turn == 90 else -90)
    write_articles(pages, 3, 2)
    pages.end_page()
    assert paragraphs(read_document(pages.save())) == articles(1, 2, 3, 4)


def test_a_ruled_table_keeps_its_cells_and_repeats_merged_ones(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    write_articles(pages, 1, 1)
    rows = [("구분", "보장내용", "지급금액"), ("입원", "1일 이상 입원", "3만원"), ("", "상급병실 입원", "5만원")]
    for i, row in enumerate(rows):
        for x, text in zip((90, 190, 330), row, strict=True):
            pages.text(x, 215 + i * 20, text)
    for y in (200, 220, 260):
        pages.line(80, y, 430, y)
    pages.line(180, 240, 430, 240)
    for x in (180, 320):  # the left and the right side are open
        pages.line(x, 200, x, 260)
    write_articles(pages, 2, 1, y=290)
    pages.end_page()
    document = read_document(pages.save())
    assert [table.rows for table in tables(document)] == [
        (("구분", "보장내용", "지급금액"), ("입원", "1일 이상 입원", "3만원"), ("입원", "상급병실 입원", "5만원"))
    ]
    assert [isinstance(b, Table) for b in document.blocks].index(True) == len(document.blocks) // 2
    assert paragraphs(document) == articles(1, 2)


def test_rows_without_ruling_lines_between_them_are_separated(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    pages.text(90, 115, "보 험 기 간")
    pages.text(300, 115, "단 기 요 율")
    for i, (term, rate) in enumerate(
        (("7일까지", "10%"), ("15일까지", "15%"), ("1개월까지", "20%"), ("2개월까지", "30%"))
    ):
        pages.text(90, 140 + i * PITCH, term)
        pages.text(300, 140 + i * PITCH, rate)
    pages.box(80, 100, 400, 100)
    pages.line(80, 123, 480, 123)
    pages.line(280, 100, 280, 200)
    pages.end_page()
    [table] = tables(read_document(pages.save()))
    assert table.rows[1:] == (("7일까지", "10%"), ("15일까지", "15%"), ("1개월까지", "20%"), ("2개월까지", "30%"))


def test_a_frame_is_text_and_does_not_interrupt_a_paragraph(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    text = (
        "① 회사는 청약의 철회를 접수한 날부터 3영업일 이내에 납입한 보험료를 계약자에게 돌려드리며, 보험료 반환이 "
        "늦어진 기간에 대하여는 보험개발원이 공시하는 이율로 계산한 금액을 더하여 지급합니다."
    )
    first, *others = wrap(text, 430)
    note = "청약의 철회란 계약자가 청약을 취소하는 것을 말합니다."
    write_articles(pages, 1, 5)
    pages.text(80, 620, first)
    pages.text(90, 645, "【청약의 철회】")
    pages.text(90, 645 + PITCH, note)
    pages.box(80, 630, 430, 45)
    pages.end_page()
    for i, line in enumerate(others):
        pages.text(80, 120 + i * PITCH, line)
    write_articles(pages, 6, 5, y=200)
    pages.end_page()
    expected = [*articles(*range(1, 6)), text, "【청약의 철회】", note, *articles(*range(6, 11))]
    assert paragraphs(read_document(pages.save())) == expected


def test_contents_are_removed_with_dots_in_columns_and_at_the_right_edge(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    pages.centered(90, "목  차", 16)
    for i in range(12):
        pages.text(80, 130 + i * PITCH, f"제{i + 1}조(보상하는 손해 {i + 1}) " + "·" * 40 + f" {i // 4 + 3}")
    pages.end_page()
    pages.text(80, 100, "특별약관")
    for i in range(8):
        pages.text(80, 130 + i * PITCH, f"{i + 1}. {'가나다라마바사아'[i]}보장 특별약관")
        pages.right(510, 130 + i * PITCH, str(i + 9))
    pages.end_page()
    for number in range(3):
        write_articles(pages, 4 * number + 1, 4)
        pages.end_page()
    document = read_document(pages.save())
    assert paragraphs(document)[-24:] == articles(*range(1, 13))
    assert len(paragraphs(document)) <= 25
    assert len(removed(document, "contents")) >= 21


def test_invisible_text_is_left_out(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    write_articles(pages, 1, 2)
    pages.canvas.saveState()
    hidden = pages.canvas.beginText(80, 300)
    hidden.setFont("HYGothic-Medium", 10)
    hidden.setTextRenderMode(3)
    hidden.textOut("보이지 않는 글")
    pages.canvas.drawText(hidden)
    pages.canvas.restoreState()
    pages.text(80, 600, "너무 작은 글", size=0.5)
    pages.canvas.setFillColorRGB(1, 1, 1)
    pages.text(80, 620, "흰 바탕의 흰 글")
    pages.canvas.setFillColorRGB(0, 0, 0.5)
    pages.canvas.rect(70, HEIGHT - 660, 300, 25, stroke=0, fill=1)
    pages.canvas.setFillColorRGB(1, 1, 1)
    pages.text(80, 650, "제3조(파란 바탕의 흰 제목)")
    pages.canvas.saveState()
    pages.canvas.setFillColorRGB(0.8, 0.8, 0.8)
    pages.canvas.translate(200, 300)
    pages.canvas.rotate(45)
    pages.canvas.drawString(0, 0, "CONFIDENTIAL")
    pages.canvas.restoreState()
    pages.end_page()
    document = read_document(pages.save())
    assert paragraphs(document) == [*articles(1, 2), "제3조(파란 바탕의 흰 제목)"]
    assert removed(document, "watermark") == ["CONFIDENTIAL"]
    [text] = removed(document, "hidden")
    assert "보이지 않는 글" in text and "너무 작은 글" in text and "흰 바탕의 흰 글" in text


def test_an_item_number_that_the_font_maps_wrongly_is_repaired_if_its_neighbors_prove_it(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    pages.text(80, 100, "제4조(보험금의 지급사유)")
    marks = ["①", "②", "§", "④"]
    for i, mark in enumerate(marks):
        pages.text(80, 120 + i * PITCH, f"{mark} 회사는 보험금을 지급합니다.")
    pages.text(80, 200, "제5조(지급절차)")
    for i, mark in enumerate(["①", "※", "②"]):
        pages.text(80, 220 + i * PITCH, f"{mark} 회사는 절차를 안내합니다.")
    pages.end_page()
    starts = [text[0] for text in paragraphs(read_document(pages.save()))]
    assert starts == ["제", "①", "②", "③", "④", "제", "①", "※", "②"]


def test_pages_are_read_in_linear_time(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "long.pdf")
    for number in range(1, 121):
        write_articles(pages, 4 * number - 3, 4)
        pages.centered(800, f"{number} / 120")
        pages.end_page()
    document = read_document(pages.save())
    assert document.n_pages == 120
    assert paragraphs(document) == articles(*range(1, 481))


def test_a_table_that_continues_on_the_next_page_gets_its_header_again(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    for rows in ([("기간", "지급이자"), ("30일", "4.0%")], [("60일", "6.0%"), ("90일", "8.0%")]):
        for i, (term, rate) in enumerate(rows):
            pages.text(90, 700 + 20 * i, term)
            pages.text(300, 700 + 20 * i, rate)
            pages.box(80, 685 + 20 * i, 200, 20)
            pages.box(280, 685 + 20 * i, 200, 20)
        pages.end_page()
    first, second = tables(read_document(pages.save()))
    assert first.rows == (("기간", "지급이자"), ("30일", "4.0%"))
    assert second.rows == (("기간", "지급이자"), ("60일", "6.0%"), ("90일", "8.0%"))


def test_headers_that_change_with_the_section_are_removed(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    for number in range(1, 13):
        if number % 2:
            pages.text(80, 50, f"제{number // 4 + 1}장 {['총칙', '지급', '해지', '부칙'][number // 4]}")
        else:
            pages.text(400, 50, "무배당 한빛 종합보험 약관")
        write_articles(pages, 2 * number - 1, 2)
        pages.text(80 if number % 2 else 500, 800, str(number))
        pages.end_page()
    assert paragraphs(read_document(pages.save())) == articles(*range(1, 25))


def test_notes_next_to_the_text_do_not_interrupt_it(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    for number in range(3):
        write_articles(pages, 5 * number + 1, 5, x=60, width=340)
        pages.text(430, 203, f"{'가나다'[number]}급 의료기관이란", size=7.5)
        pages.text(430, 214, f"제{number + 1}항에서 정한 병원을", size=7.5)
        pages.end_page()
    found = paragraphs(read_document(pages.save()))
    assert [text for text in found if "의료기관" not in text and "병원" not in text] == articles(*range(1, 16))


def test_the_invisible_text_of_a_scan_with_text_recognition_is_read(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "scan.pdf")
    pages.canvas.drawImage(ImageReader(Image.new("L", (60, 80), 220)), 0, 0, WIDTH, HEIGHT)
    recognized = pages.canvas.beginText(80, 700)
    recognized.setFont("HYGothic-Medium", 10)
    recognized.setTextRenderMode(3)
    recognized.textLine("제1조(목적)")
    recognized.textLine("이 보험계약은 계약자와 회사 사이에 피보험자의 손해에 대한 위험을 보장하기 위하여 체결됩니다.")
    pages.canvas.drawText(recognized)
    pages.end_page()
    document = read_document(pages.save())
    assert paragraphs(document)[0] == "제1조(목적)" and document.warnings == ()


def test_a_table_on_a_sideways_page_keeps_the_page_number_out(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "policy.pdf")
    for number in range(1, 5):
        if number == 3:
            pages.canvas.saveState()
            pages.canvas.translate(WIDTH, 0)
            pages.canvas.rotate(90)
            for i, row in enumerate((("상해등급", "지급금액"), ("제일급", "3천만원"), ("제이급", "2천만원"))):
                for x, text in zip((100, 300), row, strict=True):
                    pages.canvas.rect(x, 400 - 20 * i, 200, 20)
                    pages.canvas.setFont("HYGothic-Medium", 10)
                    pages.canvas.drawString(x + 10, 406 - 20 * i, text)
            pages.canvas.restoreState()
        else:
            write_articles(pages, 3 * number, 3)
        pages.centered(800, f"- {number} -")
        pages.end_page()
    document = read_document(pages.save())
    assert paragraphs(document) == articles(3, 4, 5, 6, 7, 8, 12, 13, 14)
    assert [table.rows for table in tables(document)] == [
        (("상해등급", "지급금액"), ("제일급", "3천만원"), ("제이급", "2천만원"))
    ]
    assert len(removed(document, "page_number")) == 4
