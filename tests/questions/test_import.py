"""Import of live questions: formats, bad input, personal data, repetition, and what becomes of the questions."""

from __future__ import annotations

import csv
import io
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.cli.main import main
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.journal import Journal
from insurance_rag.core.prompt_templates import RAG
from insurance_rag.questions.freeze import freeze_questions
from insurance_rag.questions.live.columns import parse_columns
from insurance_rag.questions.live.store import LiveFolder
from insurance_rag.questions.review_items import read_question_items

REFUSES = "약관에 해당 내용이 없습니다"
TABLE = f"""
통원의료비는 하루에 얼마까지 나오나요?|{REFUSES}||👎|
음주운전 사고를 내면 사고부담금이 얼마예요?|100만원입니다|아니요, 다릅니다||0.9
보험금을 청구할 때 어떤 서류를 내나요?|청구서입니다||👍|20%
청약을 철회하려면 며칠 안에 해야 하나요?|15일입니다||1|0.95
맛집 추천해줘|{REFUSES}|||
연락처는 010-2345-6789, 입원 3일째 보험금이 얼마인가요? 박서연님 계약이에요|3만원|||
"""
NAMES = ("q", "a", "fix", "good", "sure")
ROWS = [dict(zip(NAMES, line.split("|"), strict=True)) for line in TABLE.strip().splitlines()]
COLUMNS = "question=q,answer=a,correction=fix,feedback=good,confidence=sure"


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An import folder whose index the tests share, so that it is built once."""
    folder = tmp_path_factory.mktemp("index") / "live"
    source = folder.parent / "first.jsonl"
    source.write_text('{"question": "암 진단비"}\n', encoding="utf-8")
    assert run([source], folder) == 0
    return folder / "index"


@pytest.fixture
def out(index: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "live"
    folder.mkdir()
    (folder / "index").symlink_to(index)
    return folder


def run(files: list[Path], out: Path, *more: str) -> int:
    return main(["questions", "import", *map(str, files), "--out", str(out), "--chunks", "sample", *more])


def as_csv(rows: list[dict[str, str]], delimiter: str = ",") -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def live_by_question(out: Path) -> dict[str, dict[str, Any]]:
    return {row["question"]: row for row in read_jsonl(out / "live_questions.jsonl")}


def contents(folder: Path) -> dict[str, bytes]:
    left_out = ("index", "import.lock")
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if p.relative_to(folder).parts[0] not in left_out}


def test_questions_become_review_items_evaluation_questions_and_targets(out: Path, tmp_path: Path) -> None:
    source = tmp_path / "feedback.csv"
    rows = [*ROWS, *[{**ROWS[3], "sure": f"0.9{n}"} for n in range(4)]]
    source.write_text(as_csv(rows), encoding="utf-8-sig")
    assert run([source], out, "--columns", COLUMNS, "--questions", "sample") == 0
    live = live_by_question(out)
    assert [live[row["q"]]["reasons"] for row in ROWS[:5]] == [
        ["refused", "disliked"], ["corrected"], ["uncertain"], [], [],
    ]  # fmt: skip
    assert live[ROWS[4]["q"]]["chunk_id"] is None
    assert live[ROWS[3]["q"]]["asked"] == 5

    review = read_question_items(out / "review.jsonl")
    assert [item.fields["question"] for item in review] == [row["q"] for row in ROWS[:3]]
    assert review[0].chunks[0].text
    assert review[1].fields["reference_answer"] == ROWS[1]["fix"]
    assert review[0].findings[0].title_ko
    frozen = freeze_questions(out / "questions.jsonl", tmp_path / "frozen.jsonl")
    assert frozen.questions == 3
    unanswerable = [q for q in read_questions(tmp_path / "frozen.jsonl") if not q.answerable]
    assert [q.question for q in unanswerable] == [ROWS[4]["q"]]

    targets = read_chunks(out / "generation_targets.jsonl")
    assert [chunk.chunk_id for chunk in targets] == [live[ROWS[3]["q"]]["chunk_id"]]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "고정 질문" in page
    assert targets[0].chunk_id in page


def test_what_the_dataset_covers_is_no_target_and_no_new_question(out: Path, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    texts = [
        ROWS[3]["q"],
        "청약 철회는 가입하고 며칠까지 가능한지 궁금합니다",
        "철회 신청하면 낸 보험료를 며칠 안에 돌려받나요?",
    ]
    source.write_text("".join(json.dumps({"question": text}) + "\n" for text in texts * 3), encoding="utf-8")
    assert run([source], out) == 0
    targets = {target["chunk_id"]: target["live_questions"] for target in read_json(out / "report.json")["targets"]}
    chunk_id = next(iter(targets))

    dataset = tmp_path / "dataset"
    dataset.mkdir()
    asked = [texts[0], *(f"학습 질문 {n}" for n in range(targets[chunk_id]))]
    rows = [{"chunk_id": chunk_id, "instruction": question} for question in asked]
    DatasetFolder(dataset).training(RAG.name).write_text(json.dumps(rows), encoding="utf-8")
    assert run([source], out, "--dataset", str(dataset)) == 0
    assert chunk_id not in [target["chunk_id"] for target in read_json(out / "report.json")["targets"]]
    assert live_by_question(out)[texts[0]]["known"]
    assert texts[0] not in [question.question for question in read_questions(out / "questions.jsonl")]


def test_filters_of_a_record_limit_the_search(tmp_path: Path) -> None:
    """An empty company is no filter, even if a chunk has no company, and `use_filters=false` searches all chunks."""
    chunks = [chunk.model_dump(mode="json") for chunk in read_chunks("sample")[:30]]
    chunks[0]["metadata"]["company"] = ""
    for chunk in chunks[15:]:
        chunk["metadata"]["company"] = "푸른화재"
    chunk_file = tmp_path / "chunks.jsonl"
    chunk_file.write_text("".join(json.dumps(chunk) + "\n" for chunk in chunks), encoding="utf-8")
    question = chunks[20]["text"][:60]
    source = tmp_path / "rows.jsonl"
    rows = [{"question": question, "company": company} for company in ("", "한빛생명", "다른회사")]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = {}
    for use in ("true", "false"):
        more = ["--chunks", str(chunk_file), "--set", "min_score=0", "--set", f"retrieval.use_filters={use}"]
        assert run([source], tmp_path / use, *more) == 0
        found[use] = [(row["chunk_id"], row["filters"]) for row in read_jsonl(tmp_path / use / "live_questions.jsonl")]
    wanted, company = chunks[20]["chunk_id"], {"company": "한빛생명"}
    assert found["true"][0] == found["true"][2] == (wanted, {})
    assert found["true"][1][0] != wanted
    assert found["false"] == [(wanted, {}), (wanted, company), (wanted, {})]


def test_a_correction_without_a_chunk_is_shown_to_the_reviewer(out: Path, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    row = {"question": ROWS[4]["q"], "answer": "김밥집입니다", "correction": "상담 범위가 아닙니다"}
    source.write_text(json.dumps(row), encoding="utf-8")
    assert run([source], out) == 0
    (item,) = read_question_items(out / "review.jsonl")
    assert not item.fields["reference_answer"]
    assert "상담 범위가 아닙니다" in [finding.span for finding in item.findings]


def test_a_known_question_is_recognized_next_to_personal_data(out: Path, tmp_path: Path) -> None:
    known = min((question.question for question in read_questions("sample")), key=len)
    source = tmp_path / "rows.jsonl"
    text = f"900101-1234567 010-2345-6789 a@b.kr {known}"
    source.write_text(json.dumps({"question": text}), encoding="utf-8")
    assert run([source], out, "--questions", "sample") == 0
    assert [row["known"] for row in live_by_question(out).values()] == [True]


def test_no_file_of_the_folder_has_personal_data(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither in the texts, nor in columns that are not imported, nor in messages."""
    row = {
        "id": "minsu.kim@example.com",
        "question": "제 주민번호 900101-1234567인데 암 진단비가 얼마인가요?",
        "answer": "김민수님, 신한은행 110-123-456789로 입금했습니다.",
        "correction": "서울 강남구 테헤란로 123 102호로 보냅니다",
        "user_name": "홍길동",
        "company": "010-9999-8888",
    }
    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert run([source], out) == 0
    everything = b"".join(contents(out).values()) + "".join(capsys.readouterr()).encode()
    for personal in ("minsu", "900101", "1234567", "김민수", "110-123", "테헤란", "102호", "홍길동", "9999-8888"):
        assert personal.encode() not in everything
        assert json.dumps(personal)[1:-1].encode() not in everything
    assert read_json(out / "report.json")["personal_data"] == {
        "account": 1, "address": 1, "mobile_phone": 1, "name": 1, "resident_number": 1,
    }  # fmt: skip


def test_the_same_import_again_changes_nothing(out: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.csv"
    first.write_text("".join(json.dumps({"question": row["q"], "answer": row["a"]}) + "\n" for row in ROWS))
    second.write_text(as_csv([{"answer": "15일", "question": ROWS[3]["q"]}] * 2), encoding="utf-8")
    assert run([first, second], out) == 0
    before = contents(out)
    assert run([first, second], out) == 0
    assert contents(out) == before
    assert run([second], out) == 0  # a later import of other files adds to the folder
    assert contents(out) == before
    assert read_json(out / "report.json")["counts"]["records"] == len(ROWS) + 2


def test_new_feedback_about_a_known_record_replaces_it(out: Path, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    for feedback in ("", "down", ""):
        row = {"id": "t-1", "question": ROWS[3]["q"], "feedback": feedback}
        source.write_text(json.dumps(row), encoding="utf-8")
        assert run([source], out) == 0
    assert live_by_question(out)[ROWS[3]["q"]]["reasons"] == ["disliked"]
    assert read_json(out / "report.json")["counts"]["records"] == 1


def test_a_killed_import_continues(out: Path, tmp_path: Path) -> None:
    """What the journal has is not matched again, and a line that was not written completely is made again."""
    source = tmp_path / "rows.csv"
    source.write_text(as_csv(ROWS), encoding="utf-8")
    assert run([source], out, "--columns", COLUMNS) == 0
    whole = contents(out)
    folder = LiveFolder(out)
    for journal in (folder.records, folder.matches):
        journal.write_bytes(journal.read_bytes()[:-40])
    for result in (folder.report, folder.live_questions, folder.page):
        result.unlink()
    assert run([source], out, "--columns", COLUMNS) == 0
    assert contents(out) == whole
    assert sum(1 for _ in Journal(folder.records).read_new()) == len(ROWS)


def test_near_duplicates_with_other_numbers_remain(out: Path, tmp_path: Path) -> None:
    texts = [
        "입원 3일째부터 입원비가 얼마씩 나오나요?",
        "입원 3일째부터 입원비가 얼마씩 나오나요",
        "입원 3일째부터는 입원비가 얼마씩 나오나요?",
        "입원 10일째부터 입원비가 얼마씩 나오나요?",
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps({"question": text}) + "\n" for text in texts), encoding="utf-8")
    assert run([source], out) == 0
    assert [row["asked"] for row in live_by_question(out).values()] == [3, 1]


LANGFUSE_TRACES: list[dict[str, Any]] = [
    {"id": "t1", "timestamp": "2026-11-01T00:00:00Z", "name": "chat", "userId": "hong@example.com",
     "input": {"messages": [{"role": "system", "content": "도우미"}, {"role": "user", "content": ROWS[3]["q"]}]},
     "output": {"role": "assistant", "content": "15일입니다"}, "user-feedback": [0],
     "metadata": {"company": "한빛생명"}},
    {"id": "t2", "timestamp": "2026-11-01T00:01:00Z", "input": ROWS[1]["q"], "output": "100만원", "scores": []},
    {"id": "t3", "timestamp": "2026-11-01T00:02:00Z", "input": None, "output": None},
]  # fmt: skip
LANGFUSE_OBSERVATIONS: list[dict[str, Any]] = [
    {"id": "o1", "trace_id": "t4", "type": "SPAN", "parent_observation_id": "", "start_time": "2026-11-01 00:00:00",
     "input": json.dumps({"question": ROWS[2]["q"]}), "output": json.dumps({"answer": "청구서"})},
    {"id": "o2", "trace_id": "t4", "type": "GENERATION", "parent_observation_id": "o1", "start_time": "2026-11-01",
     "input": "약관: ... 질문: ...", "output": "청구서"},
]  # fmt: skip
LANGFUSE_SCORES: list[dict[str, Any]] = [
    {
        "id": "s1",
        "trace_id": "t2",
        "name": "correction",
        "value": 0,
        "string_value": "300만원입니다",
        "data_type": "TEXT",
    },
    {"id": "s2", "trace_id": "t4", "name": "confidence", "value": 0.1, "data_type": "NUMERIC"},
]


@pytest.mark.parametrize("form", ["jsonl", "json", "csv"])
def test_langfuse_exports(form: str, out: Path, tmp_path: Path) -> None:
    files = []
    for name, rows in (
        ("traces", LANGFUSE_TRACES),
        ("observations", LANGFUSE_OBSERVATIONS),
        ("scores", LANGFUSE_SCORES),
    ):
        path = tmp_path / f"{name}.{form}"
        if form == "csv":
            columns = list(dict.fromkeys(key for row in rows for key in row))
            cells = [{c: v if isinstance(v := row.get(c, ""), str) else json.dumps(v) for c in columns} for row in rows]
            path.write_text(as_csv(cells), encoding="utf-8")
        elif form == "json":
            path.write_text(json.dumps(rows), encoding="utf-8")
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        files.append(path)
    assert run(files, out) == 0
    live = live_by_question(out)
    reasons = {row["q"]: live[row["q"]]["reasons"] for row in ROWS[1:4]}
    assert reasons == {ROWS[3]["q"]: ["disliked"], ROWS[1]["q"]: ["corrected"], ROWS[2]["q"]: ["uncertain"]}
    assert len(live) == 3
    assert live[ROWS[3]["q"]]["filters"] == {"company": "한빛생명"}
    assert read_json(out / "report.json")["left_out"] == {
        "nested observation": 1, "score": 2, "trace without a text as input": 1,
    }  # fmt: skip


def test_other_encodings_and_column_orders_give_the_same_records(index: Path, tmp_path: Path) -> None:
    found = []
    rows = [{key: text for key, text in row.items() if key != "good"} for row in ROWS]
    turned = [dict(reversed(row.items())) for row in rows]
    forms = [(as_csv(rows), "utf-8"), (as_csv(turned, "\t"), "utf-16"), (as_csv(turned, ";"), "cp949")]
    for n, (text, encoding) in enumerate(forms):
        folder, source = tmp_path / f"live{n}", tmp_path / f"rows{n}.csv"
        folder.mkdir()
        (folder / "index").symlink_to(index)
        source.write_bytes(text.encode(encoding))
        assert run([source], folder, "--columns", COLUMNS.replace(",feedback=good", "")) == 0
        found.append(contents(folder)["live_questions.jsonl"])
    assert found[0] == found[1] == found[2]


def test_all_problems_are_listed_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = json.dumps({"question": ROWS[0]["q"]}, ensure_ascii=False).encode()
    broken = [
        good, b"{", b'"text"', b'{"question": ""}', "{'질문': 1}".encode("cp949"), b'{"question": "' + b"a" * 2_000_000,
        b'{"question": "a", "confidence": "high"}', good,
    ]  # fmt: skip
    files = {
        "broken.jsonl": b"\n".join(broken),
        "other.csv": "문의,답변\n암?,예\n".encode("cp949"),
        "empty.csv": b"",
        "binary.csv": bytes(range(128, 256)) * 9,
        "list.jsonl": b'{"question": ["a"]}',
        "quote.csv": 'question,answer\n"암,1\n'.encode(),
        "cells.csv": "question,answer\n암,1,2\n".encode(),
        "questions.xlsx": b"PK",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "live"
    assert (
        run([*(tmp_path / name for name in files), tmp_path / "missing.jsonl"], out, "--questions", "none.jsonl") == 2
    )
    message = capsys.readouterr().err
    for part in (
        "broken.jsonl:2: invalid JSON", "broken.jsonl:3: is not a JSON object", "broken.jsonl:4: the question is empty",
        "broken.jsonl:5: ", "broken.jsonl:6: longer than 1,000,000 characters", "broken.jsonl:7: confidence",
        "other.csv:2: no column 'question' among '문의', '답변'", "--columns question=NAME", "empty.csv: is empty",
        "binary.csv:1: is not text", "list.jsonl:1: question: is not a text",
        "quote.csv:2: is not valid CSV", "cells.csv:2: has 3 cells instead of 2", "questions.xlsx: unknown format",
        "missing.jsonl: cannot be read", "none.jsonl: cannot be read",
    ):  # fmt: skip
        assert part in message, part
    assert "Traceback" not in message
    assert not out.exists()


def test_invalid_lines_can_be_left_out(out: Path, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps({"question": ROWS[0]["q"]}) + '\n{"question": ""}\n{\n', encoding="utf-8")
    assert run([source], out, "--skip-invalid") == 0
    report = read_json(out / "report.json")
    assert report["left_out"] == {"invalid line": 2}
    assert report["counts"]["records"] == 1


def test_wrong_columns_and_settings_are_named(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'question'"):
        parse_columns(["questoin=q"])
    source = tmp_path / "rows.jsonl"
    source.write_text('{"question": "a"}', encoding="utf-8")
    assert run([source], out, "--set", "retrieval.kind=hybrid") == 2
    assert "min_score" in capsys.readouterr().err


def test_ten_thousand_questions_take_less_than_two_minutes(out: Path, tmp_path: Path) -> None:
    """A tenth of the questions may take a tenth of two minutes of processor time."""
    rng = random.Random(0)
    words = sorted({word for question in read_questions("sample") for word in question.question.split()})
    source = tmp_path / "rows.jsonl"
    with source.open("w", encoding="utf-8") as f:
        for n in range(1000):
            text = " ".join(rng.sample(words, rng.randrange(3, 12))) + f" 010-{rng.randrange(1000, 9999)}-{n:04}"
            f.write(json.dumps({"question": text, "answer": REFUSES}, ensure_ascii=False) + "\n")
    before = time.process_time()
    assert run([source], out) == 0
    assert time.process_time() - before < 12
    assert read_json(out / "report.json")["personal_data"] == {"mobile_phone": 1000}
