"""Training rows, character by character, in every prompt format and as chat messages."""
# ruff: noqa: E501  expected strings are not broken

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.dataset.corpus import qa_row
from tests.validation.helpers import read_report, read_rows, row, with_dataset, write_part

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import ANSWER_HEADING, CHAT, MERGED, PLAIN, PROMPT_FORMATS, RAG, PromptFormat
from insurance_rag.core.records import REFUSAL, FormattedRow, QARow
from insurance_rag.dataset import formats
from insurance_rag.dataset.formats import chat_row
from insurance_rag.validation.validate import validate_parts


def format_row(form: PromptFormat, row: QARow) -> FormattedRow:
    """Return the row in this format, whose limit must not cut off the evidence."""
    formatted = formats.format_row(form, row)
    assert formatted is not None
    return formatted


ROW = qa_row(
    instruction="암 진단비는 얼마인가요?",
    output="제7조에 따르면 3,000만원입니다.",
    input="제7조(암 진단비)\n3,000만원을 지급합니다.",
)


def test_plain_rows() -> None:
    formatted = format_row(PLAIN, ROW)
    assert formatted["text"] == (
        "### 지시\n암 진단비는 얼마인가요?\n### 입력\n제7조(암 진단비)\n3,000만원을 지급합니다.\n### 출력\n제7조에 따르면 3,000만원입니다."
    )
    assert formatted["prompt"].endswith("### 출력\n")
    assert formatted["prompt"] + formatted["completion"] == formatted["text"]


@pytest.mark.parametrize("text", ["가" * 700, "한 문장입니다. " * 80, "끝" * 490 + ". 다음 문장입니다."])
def test_chunks_of_plain_rows_are_cut_to_500_characters(text: str) -> None:
    shown = format_row(PLAIN, qa_row(input=text))["input"]
    assert len(shown) <= 500 and text.startswith(shown)


def test_rag_rows() -> None:
    formatted = format_row(RAG, ROW)
    assert formatted["text"] == (
        "### 지시\n아래 제공된 [보험약관]을 참고하여 사용자의 질문에 답변하세요. 약관에 명시된 내용에 근거하여 답변해야 하며, "
        "약관에 없는 내용은 추측하지 말고 '약관에 해당 내용이 없습니다'라고 답변하세요.\n### 입력\n[보험약관]\n제7조(암 진단비)\n"
        "3,000만원을 지급합니다.\n\n질문: 암 진단비는 얼마인가요?\n### 출력\n제7조에 따르면 3,000만원입니다.<|end_of_text|>"
    )
    assert formatted["completion"] == "제7조에 따르면 3,000만원입니다."
    assert formatted["prompt"] + formatted["completion"] + "<|end_of_text|>" == formatted["text"]


def test_merged_and_chat_rows() -> None:
    formatted = format_row(MERGED, ROW)
    assert formatted["text"] == (
        "### 지시\n암 진단비는 얼마인가요?\n\n### 입력\n제7조(암 진단비)\n3,000만원을 지급합니다.\n\n### 출력\n제7조에 따르면 3,000만원입니다."
    )
    assert formatted["meta"] == {"model": "teacher"}
    messages = chat_row(format_row(CHAT, ROW))["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant"]
    assert (
        messages[1]["content"]
        == "[보험약관]\n제7조(암 진단비)\n3,000만원을 지급합니다.\n\n질문: 암 진단비는 얼마인가요?"
    )
    assert messages[2]["content"] == ROW["output"]


def test_only_formats_with_the_flag_have_meta_and_context_chunks() -> None:
    assert {name for name, entry in PROMPT_FORMATS.entries.items() if "meta" in format_row(entry, ROW)} == {"merged"}
    with_context = {n for n, entry in PROMPT_FORMATS.entries.items() if "context_chunk_ids" in format_row(entry, ROW)}
    assert with_context == {"rag", "rag_bare", "chat"}


SHORT = PromptFormat(
    name="short",
    title="Question and answer",
    file="train_dataset_short.json",
    prompt=lambda question, context: f"{context}\n{question}\n{ANSWER_HEADING}",
    max_context_characters=600,
    retrieved_contexts=True,
    keep_meta=True,
    end_of_text="</s>",
)


def test_every_registered_format_gets_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.dataset.corpus import corpus_chunks, generated_rows

    assert "short" not in PROMPT_FORMATS
    monkeypatch.setitem(PROMPT_FORMATS._entries, "short", SHORT)
    refused = row(1, chunk_id="p0_00", type="unanswerable", answerable=False, output=REFUSAL, evidence="", input="")
    part = write_part(tmp_path / "p.json", [*generated_rows(), refused])
    validate_parts([part], corpus_chunks(), tmp_path / "out", with_dataset(unanswerable_share=0.2))
    folder = DatasetFolder(tmp_path / "out")
    rows, rag_rows = read_rows(folder.training("short")), read_rows(folder.training("rag_bare"))
    assert [r["context_chunk_ids"] for r in rows] == [r["context_chunk_ids"] for r in rag_rows]
    assert any(len(r["context_chunk_ids"]) > 1 for r in rows) and not all(r["answerable"] for r in rows)
    assert all(r["text"].endswith("</s>") and len(r["input"]) <= 600 and r["meta"] for r in rows)
    report = read_report(tmp_path / "out")
    assert report.files["train_dataset_short.json"] == report.files["train_dataset_rag_bare.json"] == len(rows)
    with_headers = read_rows(folder.training("rag"))
    assert report.contexts.unanswerable == sum(not r["answerable"] for r in with_headers)  # counted once
    assert folder.parquet(folder.training("short")).is_file()
    assert "`train_dataset_short.json`: Question and answer" in folder.card.read_text(encoding="utf-8")


def test_two_formats_cannot_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "short" not in PROMPT_FORMATS
    monkeypatch.setitem(PROMPT_FORMATS._entries, "short", replace(SHORT, file="heldout.json"))
    part = write_part(tmp_path / "p.json", [row(1)])
    with pytest.raises(InvalidInputError, match=r"several prompt formats write heldout\.json"):
        validate_parts([part], None, tmp_path / "out", with_dataset())


def test_an_unknown_format_has_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="unknown prompt format 'v9'"):
        DatasetFolder(tmp_path).training("v9")
