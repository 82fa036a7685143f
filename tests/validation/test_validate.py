"""The whole validation: the counts of the reference design, independence of order and shards, the command."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.validation.helpers import (
    CHUNK_TEXT,
    SETTINGS,
    GeneratedRow,
    chunk,
    read_report,
    read_rows,
    reasons,
    row,
    with_dataset,
    write_part,
)

from insurance_rag.cli.main import main
from insurance_rag.config import REFERENCE_RULES, ValidationConfig
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import REFUSAL, Chunk, DatasetManifest, ShareChange
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.validation import parts as parts_module
from insurance_rag.validation import retrievability, row_checks
from insurance_rag.validation.validate import validate_parts
from insurance_rag.validation.validate_run import validate_run

DATA_FILES = ("train_dataset.json", "train_dataset_rag.json", "train_dataset_final_v2.json", "heldout.json")
EVASIONS = (
    "해당 내용은 약관에 명시되어 있지 않습니다.",
    "관련 내용을 확인할 수 없습니다.",
    REFUSAL,
    "자세한 사항은 보험사에 문의하시기 바랍니다.",
)


def reference_rows() -> list[GeneratedRow]:
    """Return 6,688 rows with the faults and the question types that the reference design reports."""
    kinds = ["fact"] * 1617 + ["scenario"] * 1555 + ["easy"] * 2262
    rows = [row(n, type=kind) for n, kind in enumerate(kinds)]
    rows += [dict(rows[n], output=f"{rows[n]['output']} 감사합니다.") for n in range(9)]
    rows += [row(10_000 + n, output="3천만원입니다."[: 5 + n % 4]) for n in range(310)]
    rows += [row(20_000 + n, output=row(n)["output"][: 22 + n % 5] + " 보험금을") for n in range(783)]
    rows += [row(30_000 + n, output=EVASIONS[n % 4]) for n in range(152)]
    random.Random(1).shuffle(rows)
    return rows


def test_counts_of_the_reference_design(tmp_path: Path) -> None:
    rows = reference_rows()
    parts = [write_part(tmp_path / f"dataset_part_{n + 1}.json", rows[n::7]) for n in range(7)]
    config = SETTINGS.model_copy(update={"rules": REFERENCE_RULES})
    result = validate_parts(parts, None, tmp_path / "out", config)
    report = read_report(tmp_path / "out")
    assert (result.rows, result.kept) == (6688, 5434)
    counts = {"required_fields": 0, "duplicate": 9, "too_short": 310, "cut_off": 783, "evasive": 152}
    assert report.drops == counts | {"balance": 0}
    assert round(100 * report.kept / report.rows, 1) == 81.2  # the reference design rounds 81.25 up
    assert {k: (v.rows, round(100 * v.share, 1)) for k, v in report.balance["type"].items()} == {
        "easy": (2262, 41.6),
        "fact": (1617, 29.8),
        "scenario": (1555, 28.6),
    }
    assert sum(shard.rows for shard in report.by_shard.values()) == 6688
    assert len(read_rows(tmp_path / "out/train_dataset_final_v2.json")) == 5434


@given(st.randoms(use_true_random=False), st.integers(1, 6))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_and_number_of_shards_make_no_difference(tmp_path: Path, rng: random.Random, shards: int) -> None:
    rows = [row(n, type=("fact", "easy")[n % 2]) for n in range(25)] + [row(n, output="짧음.") for n in range(5)]
    rows += [row(n, instruction=row(n)["instruction"].replace("인가요?", "인지요?")) for n in range(8)]
    rows += [dict(rows[3]), dict(rows[4], output="제7조에 따르면 암 진단비는 3,000만원이에요.")]
    chunks = [chunk("c1"), *(chunk(f"d{n}", f"제{n}조(다른 내용)\n계약자는 서류 {n}종을 냅니다.") for n in range(9))]
    folder = tmp_path / f"{rng.random()}"
    expected = _data_files(folder / "a", [rows], chunks)
    rng.shuffle(rows)
    assert _data_files(folder / "b", [rows[n::shards] for n in range(shards)], chunks) == expected
    # The second run overwrites the same folder.
    assert _data_files(folder / "b", [rows[n::shards] for n in range(shards)], chunks) == expected


def _data_files(folder: Path, parts: list[list[GeneratedRow]], chunks: list[Chunk]) -> list[bytes]:
    files = [write_part(folder / f"dataset_part_{n}.json", part) for n, part in enumerate(parts)]
    validate_parts(files, chunks, folder / "out", with_dataset(parquet=False))
    return [(folder / "out" / name).read_bytes() for name in DATA_FILES]


@pytest.mark.slow
def test_several_processes_give_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_checks, "SINGLE_PROCESS_ROWS", 500)
    monkeypatch.setattr(parts_module, "BLOCK_ROWS", 200)
    part = write_part(tmp_path / "dataset_part_1.json", [row(n) for n in range(1500)])
    config = with_dataset(parquet=False, chat=False, unanswerable_share=0)
    for workers in (1, 2):
        validate_parts([part], [chunk("c1")], tmp_path / str(workers), config.model_copy(update={"workers": workers}))
    for name in DATA_FILES:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_drift_names_what_changed(tmp_path: Path) -> None:
    good = write_part(tmp_path / "good.json", [row(n) for n in range(20)])
    worse = write_part(tmp_path / "worse.json", [row(n, output="짧음.") if n % 2 else row(n) for n in range(20)])
    validate_parts([good], [chunk("c1")], tmp_path / "a", SETTINGS)
    validate_parts([worse], [chunk("c1")], tmp_path / "b", SETTINGS, previous=tmp_path / "a/report.json")
    drift = read_report(tmp_path / "b").drift
    assert drift is not None and drift.notable == ["drops.too_short", "kept"]
    assert drift.shares["kept"] == ShareChange(before=1.0, now=0.5)
    with pytest.raises(InvalidInputError, match=r"not a report of `validate`"):
        validate_parts([worse], [chunk("c1")], tmp_path / "b", SETTINGS, previous=good)


@pytest.mark.slow
def test_the_retriever_check_reports_ranks_and_can_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = [
        chunk("c1"),
        *(chunk(f"d{n}", f"제{n}조(해약환급금)\n해약환급금은 {n}영업일 이내에 지급합니다.") for n in range(5)),
    ]
    lost = row(2, instruction="해약환급금은 며칠 이내에 지급하나요?")
    part = write_part(tmp_path / "p.json", [row(1), lost])
    config = ValidationConfig()
    validate_parts([part], chunks, tmp_path / "a", config)
    ranks = read_report(tmp_path / "a").retriever
    assert ranks.questions == 2 and ranks.recall_at_1 == 0.5
    found = [r["meta"]["retriever_rank"] for r in read_rows(tmp_path / "a/train_dataset_final_v2.json")]
    assert sorted(found, key=str) == [1, 6]
    validate_parts([part], chunks, tmp_path / "b", config.model_copy(update={"max_rank": 3}))
    assert reasons(tmp_path / "b") == ["not_retrieved"]

    monkeypatch.setattr(retrievability, "SINGLE_PROCESS_ROWS", 0)
    validate_parts([part], chunks, tmp_path / "c", config.model_copy(update={"workers": 2}))
    assert read_report(tmp_path / "c").retriever == ranks


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_part(tmp_path / "parts/dataset_part_1.json", [row(1), row(2, output="짧음.")])
    (tmp_path / "c.jsonl").write_text(chunk("c1").model_dump_json() + "\n")
    command = ["validate", "--parts", str(tmp_path / "parts"), "--out", str(tmp_path / "out"), "--json"]
    assert main([*command, "--chunks", str(tmp_path / "c.jsonl"), "--set", "retriever_check=false"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["rows"], result["kept"]) == (2, 1)
    manifest = DatasetManifest.model_validate(read_json(manifest_path(Path(result["uri"]))))
    assert manifest.sha256 == result["sha256"]
    assert [Path(part.uri).name for part in manifest.parents] == ["dataset_part_1.json"]
    assert main([*command, "--rules", "reference"]) == 0
    assert main([*command, "--set", "min_outptu=3"]) == 2
    assert "did you mean 'min_output'" in capsys.readouterr().err


def test_reference_rules_with_questions_also_keep_leaks_out(tmp_path: Path) -> None:
    from tests.validation.test_split import question

    text = CHUNK_TEXT + " 끝."
    chunks = [chunk("c1"), chunk("copy", text, source="b.pdf"), chunk("other", "제9조 다른 조항.", source="c.pdf")]
    part = write_part(tmp_path / "dataset_part_1.json", [row(0, chunk_id="copy", input=text)])
    config = SETTINGS.model_copy(update={"rules": REFERENCE_RULES})
    assert validate_parts([part], chunks, tmp_path / "out", config, questions=[question("c1")]).kept == 0
    assert reasons(tmp_path / "out") == ["leak"]


def test_an_incomplete_run_is_validated_only_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEYS", "a,b")
    run = tmp_path / "run"
    assert main(["plan", "--chunks", "sample", "--out", str(run)]) == 0
    assert main(["validate", "--run", str(run), "--out", str(tmp_path / "out")]) == 3
    assert "210 chunks have no answer yet" in capsys.readouterr().err
    with pytest.raises(IncompleteError, match=r"shard 1/2 · \w+: 105 chunks, e\.g\. "):
        validate_run(RunFolder(run))
    with pytest.raises(InvalidInputError, match="contains no rows"):  # the gate is passed, but there is nothing yet
        validate_run(RunFolder(run), allow_partial=True)


def test_the_lineage_of_answers_changes_neither_order_nor_draws(tmp_path: Path) -> None:
    """Two runs with the same answers at different times give the same training rows; only `meta` differs."""
    runs = []
    for at in ("2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"):
        out = tmp_path / at[:7]
        part = write_part(out / "dataset_part_1.json", [row(i, meta={"at": at}) for i in range(1, 40)])
        validate_parts([part], None, out / "out", SETTINGS)
        runs.append([r["text"] for r in read_rows(out / "out/train_dataset_final_v2.json")])
    assert runs[0] == runs[1] and len(runs[0]) > 20
