"""Pairs that were asked for once more: the first answer is rejected with its reason, the second is counted and kept."""

from __future__ import annotations

from pathlib import Path

from tests.generation.runs import keys
from tests.validation.helpers import SETTINGS, chunk, row, write_part

from gemini_simulator import running_simulator
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_shard
from insurance_rag.planning import make_plan, write_plan
from insurance_rag.validation import validate_parts
from insurance_rag.validation.pair_check import row_judge


def test_second_answers_are_counted_by_the_fault_of_the_first(tmp_path: Path) -> None:
    again = {"repaired": True, "repair_reason": "cut_off"}
    rows = [
        row(1, output="제7조에 따르면 암 진단비로 3,000만원을", meta={"fault": "cut_off"}),
        row(2, meta=again),
        row(3, output="제7조에 따르면 암 진단비로 9,000만원을 지급합니다.", meta=again),
        row(4),
    ]
    validate_parts([write_part(tmp_path / "p.json", rows)], [chunk("c1")], tmp_path / "out", SETTINGS)
    report = read_json(tmp_path / "out/report.json")
    assert report["asked_again"] == {"rows": 2, "kept": 1, "by_reason": {"cut_off": {"rows": 2, "kept": 1}}}
    assert "2 (of which 1 kept)" in (tmp_path / "out/README.md").read_text()


def test_what_generation_mends_validation_keeps(tmp_path: Path) -> None:
    with running_simulator(speed=600, latency_s=1.0, defects=0.4) as sim:
        run, chunks = RunFolder(tmp_path / "run"), read_chunks("sample")[:60]
        config = GenerationConfig(base_url=sim.url, quota_window_s=sim.window_s)
        write_plan(make_plan(chunks, keys(1), config), run, chunks)
        generate_shard(run, 1, keys(1)[0], config, judge=row_judge(SETTINGS))
    validate_parts([run.parts], chunks, tmp_path / "out", SETTINGS)
    report, rejects = read_json(tmp_path / "out/report.json"), read_jsonl(tmp_path / "out/rejects.jsonl")
    faulty = [reject for reject in rejects if "fault" in reject["meta"]]
    assert len(faulty) > 10
    # Its own fault, or a rule before it that compares rows: the second answer may repeat the question.
    assert {reject["reason"] for reject in faulty if reject["reason"] != reject["meta"]["fault"]} <= {"duplicate"}
    assert report["asked_again"]["kept"] >= 0.8 * report["asked_again"]["rows"] > 16
