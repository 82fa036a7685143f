"""Pairs that validation would drop are asked for once more, whatever happens in between, and both answers stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.generation.runs import answered, chunks, journal, keys, planned, rows

from gemini_simulator import running_simulator
from insurance_rag.cli.main import main
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.files import read_json
from insurance_rag.core.records.generation import AnswerRecord
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_run, generate_shard, missing_chunks
from insurance_rag.generation.batch import fetch_batch, poll_batch, submit_batch
from insurance_rag.generation.prompt import render
from insurance_rag.generation.repair import FAULTS, correction_of, find_faults
from insurance_rag.generation.teachers.base import Pair
from insurance_rag.planning import make_plan, reuse_answers, write_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.validation.pair_check import pair_check
from insurance_rag.validation.rules import REPAIRABLE

FAST = {"speed": 600, "latency_s": 1.0, "defects": 0.4}
KEY = keys(1)[0]
JUDGE = pair_check()


def repaired(run: RunFolder) -> list[dict]:
    return [row for row in rows(run) if row["meta"].get("repaired")]


def asked_again(run: RunFolder) -> list[dict]:
    return [record for record in journal(run) if "repair" in record]


def test_faulty_pairs_are_asked_for_once_more_and_both_answers_stay(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 40, keys(1))
        part = generate_shard(run, 1, KEY, config, judge=JUDGE)
        again = generate_shard(run, 1, KEY, config, judge=JUDGE)
        stats, truth = sim.stats(), {(t["type"], t["question"], t["answer"]): t["defect"] for t in sim.ground_truth()}
    assert again["sha256"] == part["sha256"]
    assert part["calls"] == stats["calls"] == 40 + part["repair_calls"]
    assert part["repair_calls"] == stats["corrections"] == len(asked_again(run)) > 10
    assert stats["repeated_answers"] == 0
    assert 0 < part["repair_cost_usd"] < part["cost_usd"]
    assert read_json(run.usage)["total"]["repair_calls"] == part["repair_calls"]
    assert set(answered(run).values()) == {1}  # the first answers are all there
    assert part["repaired"] == len(repaired(run)) > 10
    assert part["pending_repairs"] == 0
    faulty = {(row["chunk_id"], row["type"]): row["meta"]["fault"] for row in rows(run) if "fault" in row["meta"]}
    for row in repaired(run):
        reason = row["meta"]["repair_reason"]
        assert faulty.get((row["chunk_id"], row["type"]), "required_fields") == reason
        assert row["meta"]["repair_version"].startswith("repair_v1@")
        assert (row["type"], row["instruction"], row["output"]) in truth
    good = [row for row in repaired(run) if not truth[row["type"], row["instruction"], row["output"]]]
    assert len(good) > 0.75 * len(repaired(run))


@pytest.mark.parametrize("settings", [{"repair": False}, {}])
def test_nothing_is_asked_again_unless_wanted(tmp_path: Path, settings: dict) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 10, keys(1), **settings)
        part = generate_run(run, keys(1), config, JUDGE if settings else None)
    assert (part["calls"], part["repair_calls"], part["repaired"]) == (10, 0, 0)
    assert {record["state"] for record in journal(run)} == {"answered"}


def test_a_day_that_ends_before_the_mends_leaves_them_open_and_the_shard_complete(tmp_path: Path) -> None:
    with running_simulator(**FAST, quota={"rpd": 38}) as sim:  # room for some mends
        run, config = planned(tmp_path, sim, 30, keys(1))
        part = generate_shard(run, 1, KEY, config, judge=JUDGE)
    assert part["pending_repairs"] > 5
    assert missing_chunks(run) == {}
    assert manifest_path(run.part(1)).exists()
    assert set(answered(run).values()) == {1}
    with running_simulator(**FAST) as sim:
        config = config.model_copy(update={"base_url": sim.url})
        later = generate_shard(run, 1, KEY, config, judge=JUDGE)
        assert sim.stats()["calls"] == sim.stats()["corrections"] == part["pending_repairs"]
    assert later["pending_repairs"] == 0
    assert later["repaired"] > 0


def test_a_correction_that_gets_no_answer_is_not_asked_a_third_time(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1), max_retries=0, budget_usd=1e-9)
        open_mends(run, config.model_copy(update={"budget_usd": None}))
    with running_simulator(speed=600, faults={"malformed": 1.0}) as sim:
        config = config.model_copy(update={"base_url": sim.url, "budget_usd": None})
        part = generate_shard(run, 1, KEY, config, judge=JUDGE)
        asked = sim.stats()["calls"]
        generate_shard(run, 1, KEY, config, judge=JUDGE)
        assert sim.stats()["calls"] == asked == len(asked_again(run))
    assert all("not JSON" in record["repair"]["failed"] for record in asked_again(run))
    assert (part["repaired"], part["pending_repairs"], part["quarantined"]) == (0, 0, 0)
    assert part["repair_cost_usd"] > 0  # paid nevertheless


def open_mends(run: RunFolder, config) -> None:
    """First answers whose mends are still to be asked, as a kill leaves them."""
    generate_shard(run, 1, KEY, config, judge=JUDGE)
    path = run.journal / "shard_1.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if '"repair": {' not in line))


def test_a_refresh_takes_mends_over_and_asks_for_those_that_are_open(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        first, config = planned(tmp_path / "first", sim, 20, keys(1))
        generate_shard(first, 1, KEY, config, judge=JUDGE)
        second, third = RunFolder(tmp_path / "second"), RunFolder(tmp_path / "third")
        for run, before in ((second, first), (third, second)):
            write_plan(make_plan(chunks(20), keys(1), config), run, chunks(20))
            reuse_answers(run, [before])
        calls = sim.stats()["calls"]
        generate_shard(second, 1, KEY, config, judge=JUDGE)
        assert sim.stats()["calls"] == calls
    assert len(repaired(second)) == len(repaired(first))
    assert repaired(second)[0]["meta"]["repair_reason"] == repaired(first)[0]["meta"]["repair_reason"]


def test_answers_of_a_batch_are_mended_by_the_ordinary_call(tmp_path: Path) -> None:
    with running_simulator(speed=600, batch_s=1, defects=0.4) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        handle = submit_batch(run, 1, KEY, config)
        assert handle is not None
        while not poll_batch(handle, KEY, config):
            pass
        with pytest.raises(Exception, match="chunks are open"):
            fetch_batch(run, handle, KEY, config, JUDGE)
        assert submit_batch(run, 1, KEY, config) is None
        part = generate_shard(run, 1, KEY, config, judge=JUDGE)
        assert part["calls"] == part["repair_calls"] == sim.stats()["corrections"] > 3
    assert part["repaired"] > 3


def test_the_openai_teacher_is_corrected_too(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 15, keys(1), teacher="openai", base_url=sim.url)
        part = generate_shard(run, 1, KEY, config, judge=JUDGE)
        assert part["repair_calls"] == sim.stats()["corrections"] > 3
    assert part["repaired"] > 3


def test_the_command_mends_and_can_be_told_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_simulator(**FAST) as sim:
        monkeypatch.setenv("GEMINI_API_KEYS", "one")
        monkeypatch.setenv("GEMINI_QUOTA_WINDOW_S", str(sim.window_s))
        for name, flags in (("a", ["--no-repair"]), ("b", [])):
            run, _ = planned(tmp_path / name, sim, 10, [KEY.model_copy(update={"id": "gemini_k1"})])
            assert main(["generate", "--run", str(run.root), "--json", *flags]) == 0
            result = json.loads(capsys.readouterr().out.splitlines()[-1])
            assert (result["repair_calls"] > 0) is (not flags)


def test_the_note_names_the_faults_and_asks_for_their_types_alone() -> None:
    chunk, content = chunks(1)[0], PromptSpec("gemini", "m", "qa_v1", ("fact", "scenario", "easy"), 1)
    good = Pair("scenario", "한빛 암보험에서 입원하면 얼마를 받나요?", "제1조에 따르면 1만원을 지급합니다.")
    pairs = [
        Pair(
            "fact", "한빛 암보험의 입원보험금은 얼마인가요?", "제1조에 따르면\n### 보험 약관 내용 77만원을 지급합니다."
        ),
        good,
    ]
    faults = find_faults(lambda chunk, pairs: [("unsupported_number", "77만원"), None], chunk, pairs, content)
    assert [(f.type, f.reason, f.pair) for f in faults] == [
        ("fact", "unsupported_number", 0),
        ("easy", "required_fields", None),
    ]
    meta = {"teacher": "gemini", "model": "m", "prompt_version": "p", "key_id": "k1", "at": "2026-11-25T10:00:00Z"}
    answer = {"pairs": [vars(pair) for pair in pairs], "faults": [vars(fault) for fault in faults]}
    record = AnswerRecord.model_validate({"chunk_id": chunk.chunk_id, "usage": {}, "meta": meta, **answer})
    correction = correction_of(record, content)
    prompt = render(correction.content, chunk, correction.note)
    assert correction.content.types == ("fact", "easy")
    assert "숫자가 조항에 없습니다: '77만원'" in prompt
    assert good.answer not in prompt
    assert prompt.index(chunk.text) < prompt.index("### 다시 작성")
    assert prompt.count("\n### 보험 약관 내용") == 1  # that of the faulty answer is no heading


def test_every_mendable_rule_is_explained_to_the_teacher() -> None:
    assert FAULTS.keys() == REPAIRABLE


def test_the_judge_names_the_first_mendable_rule() -> None:
    chunk = chunks(1)[0]
    question = "한빛 암보험에서 입원하면 얼마를 받나요?"
    said = {
        "제1조에 따르면 입원하면 1만원을 지급합니다.": None,
        "네.": "too_short",
        "제1조에 따르면 입원하면 지급하는 금액은": "cut_off",
        "제1조에 따르면 입원하면 7만원을 지급합니다.": "unsupported_number",
        "제44조에 따르면 입원하면 1만원을 지급합니다.": "unsupported_article",
        "가" * 30_000: None,  # malformed: no slip of one answer
    }
    verdicts = JUDGE(chunk, [Pair("fact", question, answer) for answer in said])
    assert [verdict and verdict[0] for verdict in verdicts] == list(said.values())
