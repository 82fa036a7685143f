"""Repaired pairs: the first answer is rejected with its reason, the second one is counted and kept."""

from __future__ import annotations

from pathlib import Path

from tests.generation.runs import keys
from tests.validation.helpers import SETTINGS, chunk, read_rejects, read_report, row, write_part

from gemini_simulator import running_simulator
from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.core.records import RepairCounts, RepairSummary
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_shard
from insurance_rag.planning import make_plan, write_plan
from insurance_rag.validation.pair_check import pair_check
from insurance_rag.validation.validate import validate_parts


def test_second_answers_are_counted_by_the_fault_of_the_first(tmp_path: Path) -> None:
    repaired = {"repaired": True, "repair_reason": "cut_off"}
    rows = [
        row(1, output="제7조에 따르면 암 진단비로 3,000만원을", meta={"fault": "cut_off"}),
        row(2, meta=repaired),
        row(3, output="제7조에 따르면 암 진단비로 9,000만원을 지급합니다.", meta=repaired),
        row(4),
    ]
    validate_parts([write_part(tmp_path / "p.json", rows)], [chunk("c1")], tmp_path / "out", SETTINGS)
    by_reason = {"cut_off": RepairCounts(rows=2, kept=1)}
    assert read_report(tmp_path / "out").repairs == RepairSummary(rows=2, kept=1, by_reason=by_reason)
    assert "2 (of which 1 kept)" in (tmp_path / "out/README.md").read_text()


def test_validation_keeps_what_generation_repaired(tmp_path: Path) -> None:
    with running_simulator(speed=600, latency_s=1.0, defects=0.4) as sim:
        run, chunks = RunFolder(tmp_path / "run"), read_chunks("sample")[:60]
        config = GenerationConfig(base_url=sim.url, quota_window_s=sim.window_s)
        write_plan(make_plan(chunks, keys(1), config), run, chunks)
        generate_shard(run, 1, keys(1)[0], config, pair_check=pair_check(SETTINGS))
    validate_parts([run.parts], chunks, tmp_path / "out", SETTINGS)
    report, rejects = read_report(tmp_path / "out"), read_rejects(tmp_path / "out")
    faulty = [reject for reject in rejects if "fault" in reject["meta"]]
    assert len(faulty) > 10
    # The reason is the fault of the row, or `duplicate`: the second answer may repeat the question.
    assert {reject["reason"] for reject in faulty if reject["reason"] != reject["meta"]["fault"]} <= {"duplicate"}
    assert report.repairs.kept >= 0.8 * report.repairs.rows > 16
