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


def row(chunk_id: str = "a", text: str = "제1조(목적)\n약관입니다.", **more: object) -> dict[str, object]:
    return {"chunk_id": chunk_id, "text": text, "metadata": META, **more}


def write(path: Path, *lines: object) -> Path:
    encoded = (x if isinstance(x, bytes) else json.dumps(x, ensure_ascii=False).encode() for x in lines)
    path.write_bytes(b"\n".join(encoded))
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


def test_every_problem_is_listed_with_its_line(tmp_path: Path) -> None:
    incomplete = {"chunk_id": "x", "text": "t", "metadata": {k: v for k, v in META.items() if k != "company"}}
    lines = [row("a"), b"{no json", row("a"), incomplete, row("e", ""), b'{"chunk_id": "\xff"}', b"[1]"]
    path = write(tmp_path / "c.jsonl", *lines)
    with pytest.raises(InvalidInputError) as e:
        read_chunks(path)
    expected = {
        2: "not JSON",
        3: "duplicate chunk_id 'a' (first seen at line 1); make it unique",
        4: "metadata.company: Field required",
        5: "text: String should have at least 1 character",
        6: "not UTF-8",
        7: "not a JSON object; write one",
    }
    assert len(e.value.problems) == len(expected)
    for problem, (line, message) in zip(e.value.problems, expected.items(), strict=True):
        assert problem.startswith(f"{path}:{line}: ") and message in problem


def test_the_same_problem_of_many_lines_is_listed_once(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", *({"chunk_id": f"c{i}", "metadata": META} for i in range(1800)))
    with pytest.raises(InvalidInputError) as e:
        read_chunks(path)
    assert e.value.problems == [f"{path}: 1800 lines, first at line 1: text: Field required; fix the field"]


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (None, "cannot be read")])
def test_a_file_without_chunks(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "c.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=message):
        read_chunks(path)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_an_input_error(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "c.jsonl"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError):
        read_chunks(path)


@pytest.mark.slow
def test_a_hundred_thousand_chunks_are_read_in_seconds(tmp_path: Path) -> None:
    text = "제{i}조(보험금)\n" + "회사는 지급합니다. " * 10
    path = write(tmp_path / "c.jsonl", *(row(f"c{i}", text.format(i=i)) for i in range(100_000)))
    started = time.process_time()
    assert len(read_chunks(path)) == 100_000
    assert time.process_time() - started < 6
