"""The command as a whole: the spec's arithmetic, order and shards, bad input, the split, drift."""

from __future__ import annotations

import json
import random
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.validation.helpers import CLAUSE, SETTINGS, chunk, read_rows, reasons, row, with_dataset, write_part

from insurance_rag.cli.main import main
from insurance_rag.config import SPEC_RULES, ValidationConfig
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.records import REFUSAL, Question
from insurance_rag.validation import check, validate_parts
from insurance_rag.validation import retrievability as ranks
from insurance_rag.validation import rows as rows_module

DATA_FILES = ("train_dataset.json", "train_dataset_rag.json", "train_dataset_final_v2.json", "heldout.json")
EVASIONS = (
    "해당 내용은 약관에 명시되어 있지 않습니다.",
    "관련 내용을 확인할 수 없습니다.",
    REFUSAL,
    "자세한 사항은 보험사에 문의하시기 바랍니다.",
)


def spec_rows() -> list[dict[str, Any]]:
    """6,688 rows with the faults the source counted; types of the good ones as it counted them."""
    kinds = ["fact"] * 1617 + ["scenario"] * 1555 + ["easy"] * 2262
    rows = [row(n, type=kind) for n, kind in enumerate(kinds)]
    rows += [dict(rows[n], output=f"{rows[n]['output']} 감사합니다.") for n in range(9)]
    rows += [row(10_000 + n, output="3천만원입니다."[: 5 + n % 4]) for n in range(310)]
    rows += [row(20_000 + n, output=row(n)["output"][: 22 + n % 5] + " 보험금을") for n in range(783)]
    rows += [row(30_000 + n, output=EVASIONS[n % 4]) for n in range(152)]
    random.Random(1).shuffle(rows)
    return rows


def test_the_specs_arithmetic(tmp_path: Path) -> None:
    rows = spec_rows()
    parts = [write_part(tmp_path / f"dataset_part_{n + 1}.json", rows[n::7]) for n in range(7)]
    result = validate_parts(parts, None, tmp_path / "out", SETTINGS.model_copy(update={"rules": SPEC_RULES}))
    report = read_json(tmp_path / "out/report.json")
    assert (result["rows"], result["kept"]) == (6688, 5434)
    counts = {"required_fields": 0, "duplicate": 9, "too_short": 310, "cut_off": 783, "evasive": 152}
    assert report["drops"] == counts | {"balance": 0}
    assert round(100 * report["kept"] / report["rows"], 1) == 81.2  # the source rounds 81.25 up
    assert {k: (v["rows"], round(100 * v["share"], 1)) for k, v in report["balance"]["type"].items()} == {
        "easy": (2262, 41.6),
        "fact": (1617, 29.8),
        "scenario": (1555, 28.6),
    }
    assert sum(shard["rows"] for shard in report["by_shard"].values()) == 6688
    assert len(read_rows(tmp_path / "out/train_dataset_final_v2.json")) == 5434


@given(st.randoms(use_true_random=False), st.integers(1, 6))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_and_number_of_shards_make_no_difference(tmp_path: Path, chance: random.Random, shards: int) -> None:
    rows = [row(n, type=("fact", "easy")[n % 2]) for n in range(25)] + [row(n, output="짧음.") for n in range(5)]
    rows += [row(n, instruction=row(n)["instruction"].replace("인가요?", "인지요?")) for n in range(8)]
    rows += [dict(rows[3]), dict(rows[4], output="제7조에 따르면 암 진단비는 3,000만원이에요.")]
    clauses = [chunk("c1"), *(chunk(f"d{n}", f"제{n}조(다른 내용)\n계약자는 서류 {n}종을 냅니다.") for n in range(9))]
    folder = tmp_path / f"{chance.random()}"
    expected = _merge(folder / "a", [rows], clauses)
    chance.shuffle(rows)
    assert _merge(folder / "b", [rows[n::shards] for n in range(shards)], clauses) == expected
    assert _merge(folder / "b", [rows[n::shards] for n in range(shards)], clauses) == expected  # over the same folder


def _merge(folder: Path, parts: list[list[Any]], clauses: list[Any]) -> list[bytes]:
    files = [write_part(folder / f"dataset_part_{n}.json", part) for n, part in enumerate(parts)]
    validate_parts(files, clauses, folder / "out", with_dataset(parquet=False))
    return [(folder / "out" / name).read_bytes() for name in DATA_FILES]


def test_several_processes_give_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "SINGLE_PROCESS_ROWS", 500)
    monkeypatch.setattr(rows_module, "BLOCK_ROWS", 200)
    part = write_part(tmp_path / "dataset_part_1.json", [row(n) for n in range(1500)])
    config = with_dataset(parquet=False, chat=False, unanswerable_share=0)
    for workers in (1, 2):
        validate_parts([part], [chunk("c1")], tmp_path / str(workers), config.model_copy(update={"workers": workers}))
    for name in DATA_FILES:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


BAD_ROWS: list[tuple[Any, str]] = [
    (["a", "list"], "is a list"),
    ("text", "is text"),
    (7, "is a number"),
    (None, "is null"),
    (row(output=3000), "output is a number"),
    (row(chunk_id=7), "chunk_id is a number"),
    (row(answerable="yes"), "answerable is text"),
    (row(output="가" * 1_000_000), "1,000,000 characters"),
    (row(output="보험금\ud800을 지급합니다."), "lone surrogate"),
    (row(meta={"note": "\udfff"}), "no valid Unicode"),
]


def test_rows_of_any_shape_get_a_reason(tmp_path: Path) -> None:
    rows = [bad for bad, _ in BAD_ROWS] + [row(1)]
    path = tmp_path / "dataset_part_1.json"
    path.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    result = validate_parts([path], [chunk("c1")], tmp_path / "out", SETTINGS)
    assert (result["rows"], result["kept"]) == (len(rows), 1)
    rejects = [json.loads(line) for line in (tmp_path / "out/rejects.jsonl").read_text().splitlines()]
    assert {r["reason"] for r in rejects} == {"malformed"}
    for _, problem in BAD_ROWS:
        assert any(problem in r["span"] for r in rejects), problem


def test_control_characters_and_nfd_are_mended_and_counted(tmp_path: Path) -> None:
    nfd = unicodedata.normalize("NFD", row(1)["output"])
    part = write_part(tmp_path / "p.json", [row(1, output=nfd), row(2, output=row(2)["output"] + "\x00\u200b")])
    validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS)
    kept = {r["output"] for r in read_rows(tmp_path / "out/train_dataset_final_v2.json")}
    assert kept == {row(1)["output"], row(2)["output"]}
    assert read_json(tmp_path / "out/report.json")["mended"] == {"output": 2}


def test_a_torn_line_of_a_jsonl_part_is_a_reason_not_a_crash(tmp_path: Path) -> None:
    part = tmp_path / "part.jsonl"
    part.write_text(json.dumps(row(1)) + "\n" + json.dumps(row(2))[:50] + "\n")
    result = validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS)
    assert (result["rows"], result["kept"], reasons(tmp_path / "out")) == (2, 1, ["malformed"])


def test_pretty_printed_parts_are_read_too(tmp_path: Path) -> None:
    part = tmp_path / "part.json"
    part.write_text(json.dumps([row(1), row(2)], indent=2, ensure_ascii=False), encoding="utf-8")
    assert validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS)["kept"] == 2


def test_parts_of_one_name_are_told_apart_and_rejects_keep_their_clause(tmp_path: Path) -> None:
    parts = [write_part(tmp_path / f"{n}/dataset_part_1.json", [row(1)]) for n in range(2)]
    validate_parts(parts, [chunk("c1")], tmp_path / "out", SETTINGS)
    report = read_json(tmp_path / "out/report.json")
    assert [shard["rows"] for shard in report["by_shard"].values()] == [1, 1]
    (reject,) = read_jsonl(tmp_path / "out/rejects.jsonl")
    assert (reject["reason"], reject["input"], reject["repairable"]) == ("duplicate", CLAUSE, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[\n{"a": 1},\n{"b"', "breaks off"),
        ('{"a": 1}', "holds an object"),
        ("[1, 2", "not JSON"),
        ("[]", "holds no rows"),
    ],
)
def test_unusable_parts_are_named_and_nothing_is_harmed(tmp_path: Path, content: str, message: str) -> None:
    part = tmp_path / "dataset_part_1.json"
    write_part(part, [row(1)])
    validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS)
    before = (tmp_path / "out/train_dataset.json").read_bytes()
    part.write_text(content)
    with pytest.raises(InvalidInputError, match=message) as e:
        validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS)
    assert "dataset_part_1.json" in str(e.value)
    assert (tmp_path / "out/train_dataset.json").read_bytes() == before


def test_an_unknown_rule_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="'too_shrt' is none"):
        validate_parts([tmp_path], None, tmp_path / "out", ValidationConfig(rules=("too_shrt",)))
    with pytest.raises(InvalidInputError, match="no part file"):
        validate_parts([tmp_path / "nowhere"], None, tmp_path / "out")


# ---- the split


def question(gold: str, text: str = "암 진단비는 얼마인가요?") -> Question:
    return Question(question_id=gold, question=text, type="fact", answerable=True, gold_chunk_ids=[gold])


def test_nothing_of_the_evaluation_leaks_into_training(tmp_path: Path) -> None:
    clauses = [
        chunk("gold", source="held.pdf"),
        chunk("same_document", "제9조(해지)\n계약자는 언제든지 계약을 해지할 수 있습니다.", source="held.pdf"),
        chunk("copy", CLAUSE.replace("제7조", "제8조"), source="other.pdf"),
        chunk("free", "제3조(청구)\n보험금은 서류를 접수한 날부터 3영업일 이내에 지급합니다.", source="other.pdf"),
    ]
    texts = {c.chunk_id: c.text for c in clauses}
    free = {
        "instruction": "보험금은 며칠 안에 받나요?",
        "output": "제3조에 따르면 3영업일 이내에 지급합니다.",
        "evidence": "",
    }
    rows = [
        row(1, chunk_id="gold"),
        row(
            2,
            chunk_id="same_document",
            input=texts["same_document"],
            output="제9조에 따르면 언제든지 해지할 수 있습니다.",
            evidence="",
        ),
        row(3, chunk_id="copy", input=texts["copy"], output=row(3)["output"].replace("제7조", "제8조")),
        row(4, chunk_id="free", input=texts["free"], **free),
        row(5, chunk_id="free", input=texts["free"], **free | {"instruction": "암 진단비는 얼마인가요?"}),
    ]
    part = write_part(tmp_path / "p.json", rows)
    validate_parts(
        [part],
        clauses,
        tmp_path / "out",
        with_dataset(unanswerable_share=0.3, distractor_share=1.0),
        questions=[question("gold")],
    )
    trained = [r for name in DATA_FILES[:3] for r in read_rows(tmp_path / "out" / name)]
    assert {r["chunk_id"] for r in trained} == {"free"}
    assert all(i == "free" for r in trained for i in r.get("context_chunk_ids", ["free"]))
    assert not any("3,000만원" in r["text"] for r in trained)
    assert {r["chunk_id"] for r in read_rows(tmp_path / "out/heldout.json")} == {"gold", "same_document"}
    assert sorted(reasons(tmp_path / "out")) == ["leak", "leak"]
    assert read_json(tmp_path / "out/report.json")["split"]["leaking_chunks"] == ["copy"]


def test_the_golden_set_is_frozen_by_its_hash(tmp_path: Path) -> None:
    part, clauses = (
        write_part(tmp_path / "p.json", [row(1)]),
        [chunk("c1"), chunk("gold", "제1조(목적)\n목적입니다.", source="b.pdf")],
    )
    validate_parts([part], clauses, tmp_path / "out", SETTINGS, questions=[question("gold")])
    frozen = read_json(tmp_path / "out/report.json")["split"]["questions_sha256"]
    config = SETTINGS.model_copy(update={"questions_sha256": frozen})
    validate_parts([part], clauses, tmp_path / "out", config, questions=[question("gold")])
    with pytest.raises(InvalidInputError, match="not the frozen"):
        validate_parts([part], clauses, tmp_path / "out", config, questions=[question("gold", "다른 질문인가요?")])


def test_questions_over_every_document_or_unknown_clauses_are_refused(tmp_path: Path) -> None:
    part = write_part(tmp_path / "p.json", [row(1)])
    with pytest.raises(InvalidInputError, match="none is left to train on"):
        validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS, questions=[question("c1")])
    with pytest.raises(InvalidInputError, match="'nowhere' is not among the clauses"):
        validate_parts([part], [chunk("c1")], tmp_path / "out", SETTINGS, questions=[question("nowhere")])


# ---- report and command


def test_drift_names_what_moved(tmp_path: Path) -> None:
    good = write_part(tmp_path / "good.json", [row(n) for n in range(20)])
    worse = write_part(tmp_path / "worse.json", [row(n, output="짧음.") if n % 2 else row(n) for n in range(20)])
    validate_parts([good], [chunk("c1")], tmp_path / "a", SETTINGS)
    validate_parts([worse], [chunk("c1")], tmp_path / "b", SETTINGS, previous=tmp_path / "a/report.json")
    drift = read_json(tmp_path / "b/report.json")["drift"]
    assert drift["notable"] == ["drops.too_short", "kept"]
    assert drift["shares"]["kept"] == {"before": 1.0, "now": 0.5}
    with pytest.raises(InvalidInputError, match=r"no report\.json"):
        validate_parts([worse], [chunk("c1")], tmp_path / "b", SETTINGS, previous=good)


def test_the_retriever_check_reports_ranks_and_can_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clauses = [
        chunk("c1"),
        *(chunk(f"d{n}", f"제{n}조(해약환급금)\n해약환급금은 {n}영업일 이내에 지급합니다.") for n in range(5)),
    ]
    lost = row(2, instruction="해약환급금은 며칠 이내에 지급하나요?")
    part = write_part(tmp_path / "p.json", [row(1), lost])
    config = ValidationConfig()
    validate_parts([part], clauses, tmp_path / "a", config)
    report = read_json(tmp_path / "a/report.json")
    assert report["retriever"]["questions"] == 2 and report["retriever"]["recall@1"] == 0.5
    found = [r["meta"]["retriever_rank"] for r in read_rows(tmp_path / "a/train_dataset_final_v2.json")]
    assert sorted(found) == [1, 6]
    validate_parts([part], clauses, tmp_path / "b", config.model_copy(update={"max_rank": 3}))
    assert reasons(tmp_path / "b") == ["not_retrieved"]

    monkeypatch.setattr(ranks, "SINGLE_PROCESS_ROWS", 0)
    validate_parts([part], clauses, tmp_path / "c", config.model_copy(update={"workers": 2}))
    assert read_json(tmp_path / "c/report.json")["retriever"] == report["retriever"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_part(tmp_path / "parts/dataset_part_1.json", [row(1), row(2, output="짧음.")])
    (tmp_path / "c.jsonl").write_text(chunk("c1").model_dump_json() + "\n")
    command = ["validate", "--parts", str(tmp_path / "parts"), "--out", str(tmp_path / "out"), "--json"]
    assert main([*command, "--chunks", str(tmp_path / "c.jsonl"), "--set", "retriever_check=false"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["rows"], result["kept"]) == (2, 1)
    assert read_json(manifest_path(Path(result["uri"])))["sha256"] == result["sha256"]
    assert main([*command, "--rules", "spec"]) == 0
    assert main([*command, "--set", "min_outptu=3"]) == 2
    assert "did you mean 'min_output'" in capsys.readouterr().err


@pytest.mark.parametrize("text", [CLAUSE.replace("암 진단비", "암 진\u00ad단비"), unicodedata.normalize("NFD", CLAUSE)])
def test_a_clause_that_is_not_clean_loses_no_rows(tmp_path: Path, text: str) -> None:
    part = write_part(tmp_path / "dataset_part_1.json", [row(input=text)])
    assert validate_parts([part], [chunk("c1", text)], tmp_path / "out", SETTINGS)["kept"] == 1


def test_an_array_may_end_on_its_last_rows_line(tmp_path: Path) -> None:
    part = tmp_path / "dataset_part_1.json"
    part.write_text("[\n" + ",\n".join(json.dumps(row(n)) for n in range(3)) + "]", encoding="utf-8")
    assert validate_parts([part], None, tmp_path / "out", SETTINGS)["rows"] == 3
    assert reasons(tmp_path / "out") == []


def test_a_row_nested_beyond_reading_is_a_reason(tmp_path: Path) -> None:
    part = tmp_path / "dataset_part_1.json"
    deep = json.dumps(row(1))[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"
    part.write_text("[\n" + json.dumps(row(0)) + ",\n" + deep + "\n]\n", encoding="utf-8")
    assert validate_parts([part], None, tmp_path / "out", SETTINGS)["rows"] == 2
    assert reasons(tmp_path / "out") == ["malformed"]


def test_questions_want_the_clauses_whose_documents_they_hold_out(tmp_path: Path) -> None:
    part = write_part(tmp_path / "dataset_part_1.json", [row()])
    with pytest.raises(InvalidInputError, match="give --chunks"):
        validate_parts([part], None, tmp_path / "out", SETTINGS, questions=[question("c1")])


def test_the_specs_rules_with_questions_keep_leaks_out_too(tmp_path: Path) -> None:
    clauses = [
        chunk("c1"),
        chunk("copy", CLAUSE + " 끝.", source="b.pdf"),
        chunk("other", "제9조 다른 조항.", source="c.pdf"),
    ]
    rows = [row(0, chunk_id="copy", input=CLAUSE + " 끝.")]
    part = write_part(tmp_path / "dataset_part_1.json", rows)
    spec = SETTINGS.model_copy(update={"rules": SPEC_RULES})
    assert validate_parts([part], clauses, tmp_path / "out", spec, questions=[question("c1")])["kept"] == 0
    assert reasons(tmp_path / "out") == ["leak"]


def test_a_run_that_is_not_complete_is_validated_on_request_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEYS", "a,b")
    run = str(tmp_path / "run")
    assert main(["plan", "--chunks", "sample", "--out", run]) == 0
    assert main(["validate", "--run", run, "--out", str(tmp_path / "out")]) == 3
    assert "210 clauses have no answer yet" in capsys.readouterr().err
