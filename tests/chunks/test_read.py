from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.core.errors import InvalidInputError

META = {
    "source": "s.pdf",
    "company": "한빛",
    "breadcrumbs": "암보험 > 제1관",
    "token_count": 3,
    "policy_type": "암보험",
}


def row(chunk_id: str = "a", text: str = "제1조(목적)\n약관입니다.", **more: object) -> dict:
    return {"chunk_id": chunk_id, "text": text, "metadata": META, **more}


def write(path: Path, *lines: object) -> Path:
    path.write_bytes(
        b"\n".join(x if isinstance(x, bytes) else json.dumps(x, ensure_ascii=False).encode() for x in lines)
    )
    return path


def test_chunks_keep_their_order_and_further_fields(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", row("b", page=3), b"", row("a"), b"\r")
    chunks = read_chunks(path)
    assert [c.chunk_id for c in chunks] == ["b", "a"]
    assert json.loads(chunks[0].model_dump_json())["page"] == 3


def test_the_sample_ships_with_the_project() -> None:
    assert len(read_chunks("sample")) >= 120
    questions = read_questions("sample")
    known = {chunk.chunk_id for chunk in read_chunks("sample")}
    assert len(questions) >= 60
    assert all(set(question.gold_chunk_ids) <= known for question in questions)


def test_every_fault_is_named_with_its_line(tmp_path: Path) -> None:
    lacking = {"chunk_id": "x", "text": "t", "metadata": {k: v for k, v in META.items() if k != "company"}}
    path = write(
        tmp_path / "c.jsonl", row("a"), b"{no json", row("a"), lacking, row("e", ""), b'{"chunk_id": "\xff"}', b"[1]"
    )
    with pytest.raises(InvalidInputError) as e:
        read_chunks(path)
    problems = "\n".join(e.value.problems)
    for line, words in (
        (2, "not JSON"),
        (3, "line 1 already"),
        (4, "company"),
        (5, "text"),
        (6, "not UTF-8"),
        (7, "row"),
    ):
        assert any(f"{path}:{line}:" in p and words in p for p in e.value.problems), (line, words, problems)


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (None, "cannot be read")])
def test_a_file_without_chunks(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "c.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=words):
        read_chunks(path)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "c.jsonl"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError):
        read_chunks(path)


def test_a_hundred_thousand_chunks_are_read_in_seconds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.jsonl", *(row(f"c{i}", f"제{i}조(보험금)\n" + "회사는 지급합니다. " * 10) for i in range(100_000))
    )
    began = time.process_time()
    assert len(read_chunks(path)) == 100_000
    assert time.process_time() - began < 3
