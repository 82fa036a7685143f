"""The command `ingest`: what it writes, what it reuses, and what it says about bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from insurance_rag.chunks import read_chunks
from insurance_rag.cli.main import main
from insurance_rag.config.ingest import IngestConfig
from insurance_rag.ingest import ingest_documents

CANCER = """# 한빛 든든 암보험

## 보통약관

### 제1관 목적

#### 제1조(목적)

이 보험계약은 한빛생명과 맺습니다.

#### 제2조(지급)

① 회사는 제1조(목적)에 따라 지급합니다.

| 구분 | 1년 미만 | 1년 이상 |
|---|---|---|
| 일반암 | 500만원 | 1,000만원 |

## 수술 특별약관

#### 제1조(준용규정)

이 특별약관에 정하지 않은 사항은 보통약관을 따릅니다.

## 입원 특별약관

#### 제1조(준용규정)

이 특별약관에 정하지 않은 사항은 보통약관을 따릅니다.
"""
PET = """가온 반려동물보험 보통약관
제1조(목적)
반려동물의 치료비를 보장합니다.
제2조(지급)
3영업일 이내에 지급합니다.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents = tmp_path / "policies"
    documents.mkdir()
    (documents / "cancer.md").write_text(CANCER, encoding="utf-8")
    (documents / "pet.txt").write_text(PET, encoding="utf-8")
    return documents


def ingest(*arguments: Path | str) -> int:
    return main(["ingest", *map(str, arguments)])


def manifest(out: Path) -> Any:
    return json.loads(out.with_suffix(".documents.json").read_text(encoding="utf-8"))


def test_chunks_of_a_folder(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "chunks.jsonl"
    assert ingest(folder, "--out", out) == 0
    chunks = read_chunks(out)
    assert [chunk.chunk_id for chunk in chunks] == [
        "한빛-든든-암보험/보통약관/제1조",
        "한빛-든든-암보험/보통약관/제2조",
        "한빛-든든-암보험/수술-특별약관/제1조",
        "한빛-든든-암보험/입원-특별약관/제1조",
        "가온-반려동물보험/보통약관/제1조",
        "가온-반려동물보험/보통약관/제2조",
    ]
    payment, repeated = chunks[1], chunks[3].metadata.model_dump()
    assert payment.metadata.breadcrumbs == "한빛 든든 암보험 > 보통약관 > 제1관 목적 > 제2조(지급)"
    assert "일반암: 1년 미만 500만원, 1년 이상 1,000만원" in payment.text
    assert payment.metadata.model_dump()["references"] == [chunks[0].chunk_id]
    assert (payment.metadata.company, payment.metadata.policy_type) == ("한빛생명", "암보험")
    assert repeated["duplicate_of"] == chunks[2].chunk_id
    assert chunks[4].metadata.source == "pet.txt"
    read = manifest(out)["documents"]
    assert [document["coverage"] for document in read] == [1.0, 1.0]
    assert "name the insurer" in read[1]["warnings"][-1]
    report = out.with_suffix(".report.html").read_text(encoding="utf-8")
    assert "한빛-든든-암보험/보통약관/제2조" in report and "Content-Security-Policy" in report


def test_options_and_documents_yaml(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "chunks.jsonl"
    (folder / "documents.yaml").write_text("pet.txt: {product: 가온 펫보험, id: pet}", encoding="utf-8")
    assert ingest(folder, "--out", out, "--company", "가온손해보험", "--policy-type", "제3보험") == 0
    pet = read_chunks(out)[-1]
    assert pet.chunk_id == "pet/보통약관/제2조"
    assert pet.metadata.breadcrumbs.startswith("가온 펫보험 > ")
    assert (pet.metadata.company, pet.metadata.policy_type) == ("가온손해보험", "제3보험")


def test_the_same_command_reads_nothing_again(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "chunks.jsonl"
    assert ingest(folder, "--out", out) == 0
    written = out.stat().st_mtime_ns
    assert ingest(folder, "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["reused"] is True
    assert out.stat().st_mtime_ns == written
    (folder / "pet.txt").write_text(PET.replace("3영업일", "2영업일"), encoding="utf-8")
    assert ingest_documents([folder], out, IngestConfig()).reused is False
    assert "2영업일" in read_chunks(out)[-1].text


def test_ids_stay_the_same_in_a_file_with_another_name(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "가온 반려동물보험(2511).txt"
    other.write_text(PET.replace("반려동물보험 보통약관", "반려동물보험(2511) 보통약관"), encoding="utf-8")
    artifact = ingest_documents([other], tmp_path / "new.jsonl", IngestConfig())
    ids = [chunk.chunk_id for chunk in read_chunks(artifact.uri)]
    assert ids == ["가온-반려동물보험/보통약관/제1조", "가온-반려동물보험/보통약관/제2조"]


def test_a_bad_document_does_not_stop_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "chunks.jsonl"
    (folder / "empty.md").touch()
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing")
    assert ingest(folder, tmp_path / "missing.pdf", "--out", out) == 2
    message = capsys.readouterr().err
    assert all(name in message for name in ("empty.md", "broken.pdf", "missing.pdf: no such file or folder"))
    assert len(read_chunks(out)) == 6
    assert ingest(folder, "--out", out) == 2, "an incomplete result is not reused"


def test_nothing_is_overwritten_if_no_document_can_be_read(tmp_path: Path) -> None:
    out, empty = tmp_path / "chunks.jsonl", tmp_path / "empty.md"
    out.write_text("earlier", encoding="utf-8")
    empty.touch()
    assert ingest(empty, "--out", out) == 2
    assert out.read_text(encoding="utf-8") == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chunks.jsonl", "empty.md"]


def test_the_same_document_twice_is_read_once(folder: Path, tmp_path: Path) -> None:
    (folder / "copy.txt").write_text(PET, encoding="utf-8")
    artifact = ingest_documents([folder, folder / "pet.txt"], tmp_path / "chunks.jsonl", IngestConfig())
    assert artifact.documents == 2
    assert "pet.txt: has the same content as" in artifact.warnings[0]


def test_two_documents_with_the_same_ids(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "chunks.jsonl"
    (folder / "old.txt").write_text(PET.replace("3영업일", "5영업일"), encoding="utf-8")
    assert ingest(folder, "--out", out) == 2
    message = capsys.readouterr().err
    assert "old.txt and" in message and "pet.txt: would get the same chunk ids" in message and "--id" in message
    assert {chunk.metadata.source for chunk in read_chunks(out)} == {"cancer.md"}
    (folder / "documents.yaml").write_text("old.txt: {id: pet-2024}", encoding="utf-8")
    assert ingest(folder, "--out", out) == 0


def test_files_with_the_same_name_are_different_sources(tmp_path: Path) -> None:
    for name, text in (("a", PET), ("b", PET.replace("반려동물", "운전자"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.txt").write_text(text, encoding="utf-8")
    out = tmp_path / "chunks.jsonl"
    ingest_documents([tmp_path / "a", tmp_path / "b"], out, IngestConfig())
    assert {chunk.metadata.source for chunk in read_chunks(out)} == {"a/policy.txt", "b/policy.txt"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("nothing.pdf: {company: 가온}", "nothing.pdf: no such document"),
        ("pet.txt: {companny: 가온}", "did you mean 'company'?"),
        ("- pet.txt", "not a mapping of file names"),
        ("pet.txt: {company: [}", "not valid YAML"),
    ],
)
def test_problems_of_documents_yaml(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str, problem: str
) -> None:
    (folder / "documents.yaml").write_text(settings, encoding="utf-8")
    assert ingest(folder, "--out", tmp_path / "chunks.jsonl") == 2
    assert problem in capsys.readouterr().err


def test_bad_options(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest(folder, "--out", tmp_path / "c.jsonl", "--id", "x") == 2
    assert "--id x: given for 2 documents" in capsys.readouterr().err
    assert ingest(folder, "--out", tmp_path / "c.jsonl", "--set", "max_characters=10") == 2
    assert "max_characters" in capsys.readouterr().err


def test_ids_are_safe_as_paths(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text(
        "../../etc 보통약관\n제1조(목적)\n목적입니다.\n../.. 특별약관\n제1조(a/b)\n내용입니다.", encoding="utf-8"
    )
    artifact = ingest_documents([file], tmp_path / "c.jsonl", IngestConfig(document_id="../../../root"))
    for chunk in read_chunks(artifact.uri):
        parts = chunk.chunk_id.split("/")
        assert parts[0] == "root" and all(part.strip(".") for part in parts)


def policy_pdf(path: Path) -> None:
    """Write a PDF with page numbers, and with an article that begins on one page and ends on the next."""
    from tests.ingest.pdf_pages import Pages

    pages = Pages(path)
    texts = (
        "가온 여행자보험 보통약관\n제1조(목적)\n이 계약은 여행 중의 손해를 보장합니다.\n제2조(지급)",
        "① 회사는 지급합니다.\n② 지급 기한은 3영업일입니다.\n제4조(준용)\n법을 따릅니다.",
    )
    for number, text in enumerate(texts, 1):
        for i, line in enumerate(text.split("\n")):
            pages.text(72, 80 + 24 * i, line, size=16 if line.endswith("약관") else 10)
        pages.centered(800, f"- {number} -")
        pages.end_page()
    pages.save()


def test_a_pdf_with_pages(tmp_path: Path) -> None:
    file, out = tmp_path / "travel.pdf", tmp_path / "chunks.jsonl"
    policy_pdf(file)
    artifact = ingest_documents([file], out, IngestConfig(company="가온"))
    purpose, payment, _ = read_chunks(out)
    assert payment.text == "제2조(지급)\n① 회사는 지급합니다.\n② 지급 기한은 3영업일입니다."
    metadata = payment.metadata.model_dump()
    assert (metadata["page"], metadata["page_end"], metadata["position"], metadata["article"]) == (1, 2, 2, "제2조")
    assert metadata["document_sha256"] == manifest(out)["documents"][0]["sha256"]
    assert artifact.coverage == 1.0
    assert any("제4조(준용) follows 제2조; check whether 제3조 is missing" in warning for warning in artifact.warnings)
    report = out.with_suffix(".report.html").read_text(encoding="utf-8")
    assert report.count("data:image/jpeg;base64,") == 2
    assert "- 1 -" in report and purpose.text in report


@pytest.mark.browser
def test_report_in_a_browser(folder: Path, tmp_path: Path) -> None:
    from tests.browser import Browser

    policy_pdf(folder / "travel.pdf")
    out = tmp_path / "chunks.jsonl"
    assert ingest(folder, "--out", out) == 0
    (folder / "pet.txt").write_text(PET.replace("3영업일", "2영업일"), encoding="utf-8")
    assert ingest(folder, "--out", tmp_path / "new.jsonl", "--previous", out) == 0
    with Browser() as browser:
        browser.open((tmp_path / "new.report.html").as_uri() + "#d3p2")
        assert browser.run("document.getElementById('d3p2').open") is True, "a link to a page opens it"
        browser.wait("document.querySelector('#d3p2 img').naturalWidth > 300")
        assert browser.run("document.querySelector('#changes ins').textContent") == "2영업일"
        for width in (390, 1024, 1920):
            browser.look(width, 900)
            assert browser.run("document.documentElement.scrollWidth") <= width
        browser.run("document.getElementById('language').click()")
        assert "of the text is in chunks" in browser.run("document.querySelector('h1').innerText")
        assert browser.errors == [] and all(url.startswith(("file:", "data:")) for url in browser.requests)
