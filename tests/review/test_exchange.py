"""Export and import of decisions as CSV and as records of Argilla."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.review.exchange import FileFormat, export_items, import_decisions
from insurance_rag.review.records import Decision, ReviewChunk, ReviewFinding, ReviewItem
from insurance_rag.review.store import ReviewStore

TEXTS = [
    "암 진단비는 얼마인가요?",
    '=HYPERLINK("http://evil.example","여기")',
    "+82-2-123",
    "'=이미 따옴표",
    '-30일\n둘째 줄, "인용"',
    "@SUM(A1)",
    "\u2028줄 구분자",
]


def items() -> list[ReviewItem]:
    return [
        ReviewItem(
            kind="row",
            key=f"key{n}",
            fields={"question": text, "answer": f"{text} 답", "evidence": ""},
            type="fact",
            shard="shard 1/2 · k1",
            dropped=n == 3,
            approvable=n != 3,
            findings=[ReviewFinding(rule="leak")] if n == 3 else [],
            chunks=[ReviewChunk(chunk_id="c1", header="상품: 암보험", text="제1조\r\n=합계")],
        )
        for n, text in enumerate(TEXTS)
    ]


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews", "row")


def edited_csv(content: bytes, changes: dict[str, dict[str, str]]) -> bytes:
    """Return the file as a spreadsheet saves it after a person changed cells: key -> column -> text."""
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    for row in rows:
        row.update(changes.get(row["key"], {}))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode("utf-8-sig")


def test_csv_is_safe_in_excel_and_round_trips(store: ReviewStore) -> None:
    content = export_items(items(), store, "csv")
    assert content.startswith(b"\xef\xbb\xbf")
    cells = [cell for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")) for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))], "no cell runs as a formula"
    summary = import_decisions(content, "r.csv", items(), store, "kim")
    assert (summary.recorded, summary.undecided) == (0, len(TEXTS)), "the texts come back unchanged"


def test_csv_decisions_are_recorded_once(store: ReviewStore) -> None:
    content = edited_csv(
        export_items(items(), store, "csv"),
        {
            "key0": {"action": "Approve"},
            "key1": {"action": "reject", "reason": "수식"},
            "key4": {"action": "edit", "answer": "-30일로 고침"},
        },
    )
    assert import_decisions(content, "r.csv", items(), store, "kim").recorded == 3
    decisions = store.decisions()
    assert {k: (d.action, d.reason, d.fields, d.reviewer) for k, d in decisions.items()} == {
        "key0": ("approve", "", {}, "kim"),
        "key1": ("reject", "수식", {}, "kim"),
        "key4": ("edit", "", {"answer": "-30일로 고침"}, "kim"),
    }
    again = import_decisions(content, "r.csv", items(), store, "lee")
    assert (again.recorded, again.unchanged) == (0, 3) and store.records == 3


def test_every_invalid_line_is_listed_and_nothing_is_imported(store: ReviewStore) -> None:
    content = edited_csv(
        export_items(items(), store, "csv"),
        {
            "key0": {"action": "approve"},
            "key1": {"action": "maybe"},
            "key2": {"action": "reject", "reason": " "},
            "key3": {"action": "approve"},
            "key4": {"answer": "고쳤지만 결정은 없음"},
            "key5": {"key": "unknown"},
            "key6": {"action": "edit"},
        },
    )
    store.decide(Decision(kind="row", key="key0", action="reject", reason="x", reviewer="lee"), 0)
    with pytest.raises(InvalidInputError) as caught:
        import_decisions(content, "r.csv", items(), store, "kim")
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 7
    for expected in (
        "r.csv:2: the item changed after the export: lee decided",
        "unknown action 'maybe'",
        "a rejection has no reason",
        "approving cannot reverse the rule leak",
        "the texts were changed (answer)",
        "unknown key",
        "an edit changes no field",
    ):
        assert expected in problems
    assert store.records == 1


@pytest.mark.parametrize("encoding", ["cp949", "utf-8"])
def test_files_that_korean_excel_saves_are_read(store: ReviewStore, encoding: str) -> None:
    text = "key;version;action;reason\nkey0;0;reject;금액이 다름\n"
    assert import_decisions(text.encode(encoding), "r.csv", items(), store, "kim").recorded == 1
    assert store.decisions()["key0"].reason == "금액이 다름"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "no column key, version, action, reason"),
        (b"\xff\xfe\x00a", "encoding is unknown"),
        (b"key,version,action,reason\nkey0,0,approve\n", "r.csv:2: has 3 cells instead of 4"),
        (b"key,version,action,reason\nkey0,0,approve,\nkey0,0,approve,\n", "repeats the key of line 2"),
        (b"key,version,action,reason\nkey0,first,approve,\n", "version 'first' is not a number"),
    ],
)
def test_other_files_are_refused(store: ReviewStore, content: bytes, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message.replace("(", r"\(")):
        import_decisions(content, "r.csv", items(), store, "kim")
    assert store.records == 0


def test_argilla_records_round_trip(store: ReviewStore, tmp_path: Path) -> None:
    store.decide(Decision(kind="row", key="key0", action="approve", reviewer="kim"), 0)
    store.decide(Decision(kind="row", key="key6", action="edit", fields={"answer": "a\u2028b"}, reviewer="kim"), 0)
    content = export_items(items(), store, "jsonl")
    records = [json.loads(line) for line in content.decode().split("\n")[:-1]]
    assert len(records) == len(TEXTS)
    assert records[0]["suggestions"]["action"] == {"value": "approve", "score": None, "agent": "kim"}
    assert set(records[0]) == {"id", "fields", "metadata", "suggestions", "responses", "vectors"}
    assert records[1]["suggestions"] == {}
    assert import_decisions(content, "r.jsonl", items(), store, "kim").unchanged == 2

    fresh = ReviewStore(tmp_path / "other", "row")
    for record in records:
        record["metadata"]["version"] = 0
    assert import_decisions(json.dumps(records).encode(), "r.json", items(), fresh, "lee").recorded == 2
    assert fresh.decisions()["key6"].fields == {"answer": "a\u2028b"}


def test_responses_of_argilla_users_are_recorded(store: ReviewStore) -> None:
    form: FileFormat = "jsonl"
    records = [json.loads(line) for line in export_items(items(), store, form).decode().split("\n")[:-1]]

    def respond(n: int, **answers: str) -> None:
        records[n]["responses"] = {name: [{"value": value, "user_id": "u1"}] for name, value in answers.items()}

    respond(0, action="reject", reason="틀림")
    respond(1, action="edit", edited_answer="고친 답")
    content = "\n".join(json.dumps(record) for record in records).encode()
    assert import_decisions(content, "r.jsonl", items(), store, "kim").recorded == 2
    assert store.decisions()["key1"].fields == {"answer": "고친 답"}

    records[2]["responses"] = {"action": [{"value": "approve"}, {"value": "reject"}]}
    with pytest.raises(InvalidInputError, match=r"r\.jsonl:3: 2 people gave different answers to 'action'"):
        import_decisions("\n".join(map(json.dumps, records)).encode(), "r.jsonl", items(), store, "kim")
    with pytest.raises(InvalidInputError, match="2 lines, first at line 1: is not JSON"):
        import_decisions(b"{\n{\n", "r.jsonl", items(), store, "kim")
