"""Reads DOCX, HWPX, HTML, Markdown and text."""

from __future__ import annotations

import zipfile
from pathlib import Path

import docx
import pytest
from docx.document import Document as WordDocument
from docx.enum.style import WD_STYLE_TYPE
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import nsdecls, qn

from insurance_rag.ingest.document import Document, Line, Table
from insurance_rag.ingest.readers import read_document


def texts(document: Document) -> list[str]:
    return [block.text for block in document.blocks if isinstance(block, Line)]


def tables(document: Document) -> list[tuple[tuple[str, ...], ...]]:
    return [block.rows for block in document.blocks if isinstance(block, Table)]


def removed(document: Document, reason: str) -> list[str]:
    return [r.text for r in document.removed if r.reason == reason]


# ---- DOCX


def numbered_list(word: WordDocument) -> None:
    """Define list 7: 제1조, ①, 1., 가., each level starting again below the one before."""
    numbering = word.part.numbering_part.element
    levels = "".join(
        f'<w:lvl w:ilvl="{i}"><w:start w:val="1"/><w:numFmt w:val="{number_format}"/>'
        f'<w:suff w:val="{suffix}"/><w:lvlText w:val="{text}"/></w:lvl>'
        for i, (number_format, suffix, text) in enumerate(
            [
                ("decimal", "nothing", "제%1조"),
                ("decimalEnclosedCircle", "space", "%2"),
                ("decimal", "tab", "%3."),
                ("ganada", "tab", "%4."),
            ]
        )
    )
    numbering.append(parse_xml(f'<w:abstractNum {nsdecls("w")} w:abstractNumId="70">{levels}</w:abstractNum>'))
    numbering.append(parse_xml(f'<w:num {nsdecls("w")} w:numId="70"><w:abstractNumId w:val="70"/></w:num>'))


def add_numbered(word: WordDocument, level: int, text: str) -> None:
    properties = word.add_paragraph(text)._p.get_or_add_pPr()
    properties.append(parse_xml(f'<w:numPr {nsdecls("w")}><w:ilvl w:val="{level}"/><w:numId w:val="70"/></w:numPr>'))


def test_docx_shows_automatic_numbers_in_the_order_of_the_body(tmp_path: Path) -> None:
    word = docx.Document()
    numbered_list(word)
    word.add_heading("보통약관", 1)
    items = [(0, "(목적)"), (1, "손해를 보장합니다."), (1, "한도는 아래와 같습니다."), (2, "입원"), (3, "상급병실")]
    items += [(3, "일반병실"), (2, "통원"), (0, "(용어의 정의)"), (1, "용어는 아래와 같습니다.")]
    for level, text in items:
        add_numbered(word, level, text)
    word.save(str(tmp_path / "policy.docx"))
    document = read_document(tmp_path / "policy.docx")
    first = ["보통약관", "제1조(목적)", "① 손해를 보장합니다.", "② 한도는 아래와 같습니다.", "1. 입원", "가. 상급병실"]
    assert texts(document) == [*first, "나. 일반병실", "2. 통원", "제2조(용어의 정의)", "① 용어는 아래와 같습니다."]
    assert document.kind == "docx" and isinstance(document.blocks[0], Line) and document.blocks[0].level == 1


def test_docx_leaves_out_deleted_and_hidden_text_and_keeps_inserted_text(tmp_path: Path) -> None:
    word = docx.Document()
    paragraph = word.add_paragraph("보험금은 ")
    for kind, tag, text in (("del", "delText", "3만원"), ("ins", "t", "5만원")):
        change = parse_xml(
            f'<w:{kind} {nsdecls("w")} w:id="1" w:author="a"><w:r><w:{tag}>{text}</w:{tag}></w:r></w:{kind}>'
        )
        paragraph._p.append(change)
    paragraph.add_run("입니다.")
    paragraph.add_run("숨긴 글").font.hidden = True
    word.save(str(tmp_path / "policy.docx"))
    document = read_document(tmp_path / "policy.docx")
    assert texts(document) == ["보험금은 5만원입니다."]
    assert removed(document, "deleted") == ["3만원"] and removed(document, "hidden") == ["숨긴 글"]


def test_docx_tables_repeat_merged_cells_and_a_frame_is_text(tmp_path: Path) -> None:
    word = docx.Document()
    word.add_paragraph("제1조(지급금액)")
    table = word.add_table(3, 3)
    for row, cells in enumerate((("구분", "보장", ""), ("입원", "1일", "3만원"), ("", "2일", "6만원"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    table.cell(0, 1).merge(table.cell(0, 2))
    table.cell(1, 0).merge(table.cell(2, 0))
    word.add_table(1, 1).cell(0, 0).text = "【용어풀이】"
    word.add_paragraph("제2조(준용규정)")
    word.save(str(tmp_path / "policy.docx"))
    document = read_document(tmp_path / "policy.docx")
    assert tables(document) == [(("구분", "보장", "보장"), ("입원", "1일", "3만원"), ("입원", "2일", "6만원"))]
    assert texts(document) == ["제1조(지급금액)", "【용어풀이】", "제2조(준용규정)"]


def test_docx_footnotes_follow_their_paragraph_and_the_contents_are_removed(tmp_path: Path) -> None:
    word = docx.Document()
    word.styles.add_style("toc 1", WD_STYLE_TYPE.PARAGRAPH)
    word.add_paragraph("제1조(목적) 3", style="toc 1")
    paragraph = word.add_paragraph("계약자는 보험료를 냅니다.")
    reference = OxmlElement("w:footnoteReference")
    reference.set(qn("w:id"), "2")
    paragraph.add_run()._r.append(reference)
    word.add_paragraph("제2조")
    word.save(str(tmp_path / "plain.docx"))
    notes = (
        '<w:footnotes xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
        '<w:footnote w:id="0" w:type="separator"><w:p/></w:footnote>'
        '<w:footnote w:id="2"><w:p><w:r><w:t>보험계약을 맺은 사람</w:t></w:r></w:p></w:footnote></w:footnotes>'
    )
    relation = (
        '<Relationship Id="rId99" Target="footnotes.xml" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"/></Relationships>'
    )
    with zipfile.ZipFile(tmp_path / "plain.docx") as old, zipfile.ZipFile(tmp_path / "policy.docx", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "word/_rels/document.xml.rels":
                data = data.replace(b"</Relationships>", relation.encode())
            new.writestr(name, data)
        new.writestr("word/footnotes.xml", notes)
    document = read_document(tmp_path / "policy.docx")
    assert texts(document) == ["계약자는 보험료를 냅니다.", "주1) 보험계약을 맺은 사람", "제2조"]
    assert removed(document, "contents") == ["제1조(목적) 3"]


# ---- HWPX

_HWPX = 'xmlns:hp="http://www.hancom.co.kr/hwpml/2011/paragraph" xmlns:hs="http://www.hancom.co.kr/hwpml/2011/section"'
_HEADER = """<hh:head xmlns:hh="http://www.hancom.co.kr/hwpml/2011/head"><hh:refList>
<hh:numberings><hh:numbering id="2">
<hh:paraHead level="1" start="1" numFormat="DIGIT">제^1조</hh:paraHead>
<hh:paraHead level="2" start="1" numFormat="CIRCLED_DIGIT">^2</hh:paraHead></hh:numbering></hh:numberings>
<hh:paraProperties><hh:paraPr id="0"><hh:heading type="NONE" idRef="0" level="0"/></hh:paraPr>
<hh:paraPr id="1"><hh:heading type="NUMBER" idRef="2" level="0"/></hh:paraPr>
<hh:paraPr id="2"><hh:heading type="NUMBER" idRef="2" level="1"/></hh:paraPr></hh:paraProperties>
<hh:styles><hh:style id="0" name="바탕글"/><hh:style id="3" name="개요 1"/></hh:styles></hh:refList></hh:head>"""


def hwpx(path: Path, *sections: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr("Contents/header.xml", _HEADER)
        for i, section in enumerate(sections):
            archive.writestr(f"Contents/section{i}.xml", f"<hs:sec {_HWPX}>{section}</hs:sec>")
    return path


def hwpx_paragraph(text: str, properties: int = 0, style: int = 0) -> str:
    return f'<hp:p paraPrIDRef="{properties}" styleIDRef="{style}"><hp:run>{text}</hp:run></hp:p>'


def test_hwpx_sections_numbers_tables_and_notes(tmp_path: Path) -> None:
    def cell(column: int, row: int, text: str, rows: int = 1) -> str:
        return (
            f"<hp:tc><hp:subList>{hwpx_paragraph(f'<hp:t>{text}</hp:t>')}</hp:subList>"
            f'<hp:cellAddr colAddr="{column}" rowAddr="{row}"/><hp:cellSpan colSpan="1" rowSpan="{rows}"/></hp:tc>'
        )

    rows = (cell(0, 0, "입원", 2) + cell(1, 0, "3만원"), cell(1, 1, "5만원"))
    table = f"<hp:tbl>{''.join(f'<hp:tr>{row}</hp:tr>' for row in rows)}</hp:tbl>"
    text = hwpx_paragraph("<hp:t>뜻풀이</hp:t>")
    note = f"<hp:ctrl><hp:footNote><hp:subList>{text}</hp:subList></hp:footNote></hp:ctrl>"
    first = (
        hwpx_paragraph("<hp:t>보통약관</hp:t>", style=3)
        + hwpx_paragraph("<hp:t>(목적)</hp:t>", 1)
        + hwpx_paragraph(f"<hp:t>회사는<hp:tab/>보상<hp:deleteBegin/>배상<hp:deleteEnd/>합니다.</hp:t>{note}", 2)
        + hwpx_paragraph(f"<hp:t>표</hp:t>{table}")
    )
    document = read_document(hwpx(tmp_path / "policy.hwpx", first, hwpx_paragraph("<hp:t>(용어)</hp:t>", 1)))
    assert texts(document) == ["보통약관", "제1조 (목적)", "① 회사는 보상합니다.", "주1) 뜻풀이", "표", "제2조 (용어)"]
    assert tables(document) == [(("입원", "3만원"), ("입원", "5만원"))]
    assert isinstance(document.blocks[0], Line) and document.blocks[0].level == 1
    assert removed(document, "deleted") == ["배상"]


# ---- HTML, Markdown, text

PAGE = """<html><head><meta charset="{charset}"><title>약관</title><style>p {{color: red}}</style></head><body>
<nav><a href="/">홈</a></nav><ul><li><a href="#a1">제1조</a><li><a href="#a2">제2조</a><li><a href="#a3">제3조</a>
<li><a href="#a4">제4조</a><li><a href="#a5">제5조</a></ul>
<h2>제1조(목적)</h2><p>이 <b>계약</b>은<br>손해를   보장합니다.</p><script>alert(1)</script><p hidden>숨김</p>
<ol start="3"><li>사망<li>입원<ol type="a"><li>상급</ol></ol><ul><li>통원</ul>
<table><tr><th rowspan=2>구분<th colspan=2>금액<tr><td>입원<td>통원<tr><td>한도<td>3만원<td>1만원</table>
<div style="display:none">숨김 2</div></body></html>"""


@pytest.mark.parametrize("charset", ["utf-8", "euc-kr"])
def test_html(tmp_path: Path, charset: str) -> None:
    path = tmp_path / "policy.html"
    path.write_bytes(PAGE.format(charset=charset).encode(charset))
    document = read_document(path)
    assert texts(document) == [
        "제1조(목적)", "이 계약은", "손해를 보장합니다.", "3. 사망", "4. 입원", "a. 상급", "- 통원"
    ]  # fmt: skip
    assert tables(document) == [(("구분", "금액", "금액"), ("구분", "입원", "통원"), ("한도", "3만원", "1만원"))]
    assert removed(document, "hidden") == ["숨김", "숨김 2"]
    assert removed(document, "contents") == ["홈", "제1조 제2조 제3조 제4조 제5조"]
    assert [b.level for b in document.blocks if isinstance(b, Line)][:2] == [2, None]


def test_markdown_keeps_items_on_lines_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "policy.md"
    path.write_text(
        "---\ntitle: x\n---\n# 보통약관\n\n## 제1조(목적)\n① 회사는 손해를\n보상합니다.\n② 한도는 다음과 같습니다.\n"
        "    가. 입원\n    나. 통원\n\n| 구분 | 금액 |\n|---|---|\n| 입원 | 3만원 |\n\n3. 세 번째\n4. 네 번째\n"
    )
    document = read_document(path)
    first = ["보통약관", "제1조(목적)", "① 회사는 손해를 보상합니다.", "② 한도는 다음과 같습니다."]
    assert texts(document) == [*first, "가. 입원", "나. 통원", "3. 세 번째", "4. 네 번째"]
    assert tables(document) == [(("구분", "금액"), ("입원", "3만원"))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp949"])
def test_text_in_the_encodings_of_korean_files(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "policy.txt"
    path.write_bytes("제1조(목적)\r\n\r\n회사는 손해를  보상합니다. 똠방각하\r\n".encode(encoding))
    document = read_document(path)
    assert texts(document) == ["제1조(목적)", "회사는 손해를 보상합니다. 똠방각하"]
    assert (document.kind, document.source, document.n_pages) == ("text", "policy.txt", 0)
