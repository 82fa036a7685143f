"""Documents that cannot be read: each message says what is wrong, where, and what to do."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import docx
import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from tests.ingest.pdf_pages import HEIGHT, WIDTH, Pages, body, write_articles

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.ingest.document import Line
from insurance_rag.ingest.readers import read_document

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)


def problem(path: Path) -> str:
    with pytest.raises(InvalidInputError) as raised:
        read_document(path)
    return str(raised.value)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def policy(path: Path, n_pages: int = 2) -> Path:
    pages = Pages(path)
    for number in range(n_pages):
        write_articles(pages, 2 * number + 1, 2)
        pages.end_page()
    return pages.save()


def scan(canvas: Canvas) -> None:
    """Draw a picture over the whole page."""
    from PIL import Image

    canvas.drawImage(ImageReader(Image.new("L", (60, 80), 200)), 0, 0, WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.hwp", OLE + b"HWP Document File", "HWP 5 document.*save it as HWPX or PDF"),
        ("a.hwpx", OLE + b"HWP Document File", "HWP 5 document.*save it as HWPX or PDF"),
        ("a.pdf", OLE + b"HWP Document File", "HWP 5 document.*save it as HWPX or PDF"),
        ("a.doc", OLE + "WordDocument".encode("utf-16-le"), "format before 2007.*save it as DOCX or PDF"),
        ("a.docx", OLE + "EncryptedPackage".encode("utf-16-le"), "password.*save a copy without"),
        ("a.txt", b"", "empty"),
        ("a.pdf", b" \n", "empty"),
        ("a.pdf", "그냥 글".encode(), "not PDF, although it is named .pdf"),
        ("a.docx", b"PK\x03\x04" + bytes(100), "truncated or damaged; copy it again"),
        ("a.xyz", bytes(range(256)), "unknown document format.*.pdf"),
        ("a.txt", bytes(range(256)) * 8, "not text in UTF-8.*save it as UTF-8"),
        ("a.png", b"\x89PNG\r\n", "picture.*text recognition"),
        ("a.html", b"<html><body><script>1</script></body></html>", "contains no text"),
    ],
)
def test_a_file_that_is_no_readable_document(tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    message = problem(written(tmp_path / name, data))
    assert name in message
    with pytest.raises(InvalidInputError, match=f"(?s){expected}"):
        read_document(tmp_path / name)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert "there is no such file" in problem(tmp_path / "missing.pdf")
    assert "this is a folder" in problem(tmp_path)


def test_a_pdf_with_a_password_is_refused_but_one_with_an_empty_password_is_read(tmp_path: Path) -> None:
    for name, password in (("locked.pdf", "secret"), ("open.pdf", "")):
        canvas = Canvas(str(tmp_path / name), encrypt=StandardEncryption(password, ownerPassword="owner"))
        canvas.drawString(80, 700, "Article 1. The company pays.")
        canvas.save()
    assert "encrypted and needs a password; save a copy without a password" in problem(tmp_path / "locked.pdf")
    [line] = read_document(tmp_path / "open.pdf").blocks
    assert isinstance(line, Line) and line.text == "Article 1. The company pays."


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_pdf(tmp_path: Path, share: float) -> None:
    data = policy(tmp_path / "a.pdf").read_bytes()
    assert "truncated" in problem(written(tmp_path / "cut.pdf", data[: int(share * len(data))]))


def test_a_damaged_pdf(tmp_path: Path) -> None:
    assert "damaged" in problem(written(tmp_path / "a.pdf", b"%PDF-1.7\nnothing\n%%EOF"))


@pytest.mark.parametrize("kind", ["docx", "hwpx"])
def test_a_truncated_archive(tmp_path: Path, kind: str) -> None:
    docx.Document().save(str(tmp_path / "a.docx"))
    data = (tmp_path / "a.docx").read_bytes()
    assert "truncated or damaged; copy it again" in problem(written(tmp_path / f"a.{kind}", data[: len(data) // 2]))


def test_an_archive_of_another_program(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    assert "a ZIP file but not DOCX or HWPX" in problem(tmp_path / "a.docx")


def test_pages_without_text_are_named(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "mixed.pdf")
    for number in range(1, 10):
        if number in (3, 4, 5, 9):
            scan(pages.canvas)
            pages.centered(800, f"- {number} -")
        else:
            write_articles(pages, 2 * number, 2)
        pages.end_page()
    [warning] = read_document(pages.save()).warnings
    assert "mixed.pdf: pages 3-5 and 9 have no text layer; run OCR, for example ocrmypdf" in warning


def test_a_scan_is_refused(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "scan.pdf")
    for _ in range(3):
        scan(pages.canvas)
        pages.end_page()
    message = problem(pages.save())
    assert "no page has a text layer" in message and "ocrmypdf" in message


def test_an_empty_page_is_no_scan(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "a.pdf")
    write_articles(pages, 1, 1)
    pages.end_page()
    pages.end_page()
    assert read_document(pages.save()).warnings == ()


def test_a_page_whose_font_has_no_map_to_text_is_named(tmp_path: Path) -> None:
    pages = Pages(tmp_path / "a.pdf")
    write_articles(pages, 1, 2)
    pages.end_page()
    for i in range(5):
        pages.text(80, 100 + 20 * i, "".join(chr(0xE000 + j) for j in range(30)))
    pages.end_page()
    document = read_document(pages.save())
    assert "page 2" in document.warnings[0] and "ocrmypdf" in document.warnings[0]
    assert [r.page for r in document.removed if r.reason == "unreadable"] == [2]


@pytest.mark.parametrize("part", ["word/document.xml", "Contents/section0.xml"])
def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, part: str) -> None:
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(part, b"<x>" + b" " * (20 * 2**20) + b"</x>")
    assert "sign of a zip bomb" in problem(path)


def test_xml_entities_are_not_expanded_and_files_are_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("SECRET")
    entities = (
        f'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "{tmp_path}/secret.txt">]>'
        '<hs:sec xmlns:hs="s" xmlns:hp="p"><hp:p><hp:run><hp:t>&b;&f;</hp:t></hp:run></hp:p></hs:sec>'
    )
    path = tmp_path / "attack.hwpx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Contents/section0.xml", entities)
    message = problem(path)
    assert "document type" in message and "SECRET" not in message


def test_a_protected_hwpx(tmp_path: Path) -> None:
    path = tmp_path / "a.hwpx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Contents/section0.xml", b"\x00\x01")
        archive.writestr("META-INF/manifest.xml", "<m><file-entry><encryption-data/></file-entry></m>")
    assert "protected by a password" in problem(path)


def test_the_content_decides_about_the_format(tmp_path: Path) -> None:
    policy(tmp_path / "policy.pdf")
    document = read_document((tmp_path / "policy.pdf").rename(tmp_path / "policy.docx"))
    assert document.kind == "pdf"
    assert document.warnings == ("policy.docx: the file is named .docx but its content is PDF; rename it",)


def test_word_paragraphs_in_a_file_without_extension(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    word = docx.Document()
    word.add_paragraph(body(1))
    word.save(buffer)
    [line] = read_document(written(tmp_path / "policy", buffer.getvalue())).blocks
    assert isinstance(line, Line) and line.text == body(1)
