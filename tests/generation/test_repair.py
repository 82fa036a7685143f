"""Pairs that validation would drop are requested once more, and both answers stay, also after kills and failures."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.generation.fixed_server import completion, server
from tests.generation.runs import SINGLE, chunks, first_answers, journal_records, keys, planned, rows

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.cli.main import main
from insurance_rag.config import GenerationConfig
from insurance_rag.core import progress
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.errors import IncompleteError, RepairsPendingError
from insurance_rag.core.files import read_json
from insurance_rag.core.records import Chunk, ProgressState, QAPair
from insurance_rag.core.records.generation import AnswerMeta, AnswerRecord, PairRecord, RepairRecord, TokenCount
from insurance_rag.core.records.usage import RunUsage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_run, generate_shard, missing_chunks
from insurance_rag.generation.batch import fetch_batch, poll_batch, submit_batch
from insurance_rag.generation.parts import read_manifest
from insurance_rag.generation.prompt import ChunkRequest, render
from insurance_rag.generation.repair import FAULT_TEXTS, find_faults, repair_request
from insurance_rag.generation.teachers.base import Pair
from insurance_rag.planning import make_plan, reuse_answers, write_plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.question_plan import PlannedPair
from insurance_rag.validation.pair_check import pair_check
from insurance_rag.validation.rules.registry import RULES

FAST: dict[str, float] = {"speed": 600, "latency_s": 1.0, "defects": 0.4}
KEY = keys(1)[0]
META = AnswerMeta(teacher="gemini", model="m", prompt_version="v", key_id="k1", at="2026-01-01T00:00:00Z")
CHECK = pair_check()


def repaired(run: RunFolder) -> list[QAPair]:
    return [row for row in rows(run) if row.meta.get("repaired")]


def repairs(run: RunFolder) -> list[RepairRecord]:
    records = [record["repair"] for record in journal_records(run) if "repair" in record]
    return [RepairRecord.model_validate(record) for record in records]


@pytest.mark.parametrize("chunks_per_call", [1, "auto"])
def test_faulty_pairs_are_requested_once_more_and_both_answers_stay(tmp_path: Path, chunks_per_call: int | str) -> None:
    with running_simulator(**FAST, pack_degradation=0) as sim:
        run, config = planned(tmp_path, sim, 40, keys(1), chunks_per_call=chunks_per_call)
        part = generate_shard(run, 1, KEY, config, pair_check=CHECK)
        again = generate_shard(run, 1, KEY, config, pair_check=CHECK)
        stats, truth = sim.stats(), {(t["type"], t["question"], t["answer"]): t["defect"] for t in sim.ground_truth()}
    assert again.sha256 == part.sha256
    assert part.calls == stats["calls"] == stats["answered"]
    assert part.repair_calls == stats["corrections"]
    assert 0 < part.repair_calls <= len(repairs(run)) / 3, "one call repairs the pairs of several chunks"
    assert len(repairs(run)) > 10
    assert (stats["distinct_answered"], stats["repeated_answers"]) == (40 + len(repairs(run)), 0)
    assert 0 < part.repair_cost_usd < part.cost_usd
    usage = RunUsage.model_validate(read_json(run.usage)).total
    assert usage.repair_calls == part.repair_calls
    assert usage.repair_pairs_accepted == sum(record.accepted for record in repairs(run)) > 10
    assert set(first_answers(run).values()) == {1}  # every first answer is there once
    assert part.repaired == len(repaired(run)) > 10
    assert part.pending_repairs == 0
    faulty = {(row.chunk_id, row.type): row.meta["fault"] for row in rows(run) if "fault" in row.meta}
    for row in repaired(run):
        reason = row.meta["repair_reason"]
        assert faulty.get((row.chunk_id, row.type), "required_fields") == reason
        assert row.meta["repair_version"].startswith("repair_v2@")
        assert (row.type, row.instruction, row.output) in truth
    good = [row for row in repaired(run) if not truth[row.type, row.instruction, row.output]]
    assert len(good) > 0.75 * len(repaired(run))


def test_a_new_pair_has_the_style_and_the_second_chunk_of_the_pair_that_it_replaces(tmp_path: Path) -> None:
    cited = chunks(1, start=21)
    citing = [c.model_copy(update={"text": f"{c.text}\n③ 제21조에 따른 금액은 뺍니다."}) for c in chunks(20)]
    run = RunFolder(tmp_path)
    with running_simulator(**FAST) as sim:
        questions = {"two_chunk_share": 1, "near_miss_share": 0}
        config = GenerationConfig.model_validate(
            {"base_url": sim.url, "quota_window_s": sim.window_s, "questions": questions}
        )
        write_plan(make_plan(citing + cited, keys(1), config), run, citing + cited)
        generate_shard(run, 1, KEY, config, pair_check=CHECK)
    replaced = {(row.chunk_id, row.type): row for row in rows(run) if "fault" in row.meta}
    pairs = [(row, replaced[row.chunk_id, row.type]) for row in repaired(run) if (row.chunk_id, row.type) in replaced]
    assert len(pairs) > 5
    assert any("other_chunk_id" in new.meta for new, _ in pairs)
    for new, old in pairs:
        assert new.input == old.input
        for name in ("persona", "register", "difficulty", "form", "other_chunk_id"):
            assert new.meta.get(name) == old.meta.get(name)


@pytest.mark.parametrize("settings", [{"repair": False}, {}])
def test_nothing_is_requested_again_unless_configured(tmp_path: Path, settings: dict[str, bool]) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 10, keys(1), **SINGLE, **settings)
        part = generate_run(run, keys(1), config, CHECK if settings else None)
    assert (part.calls, part.repair_calls, part.repaired) == (10, 0, 0)
    assert {record["state"] for record in journal_records(run)} == {"answered"}


def test_daily_quota_that_ends_during_repairs_leaves_the_shard_complete(tmp_path: Path) -> None:
    # A repair must not overtake the last first answer, so the simulator's clock is not as fast as in the other tests.
    with running_simulator(**FAST | {"speed": 100}, pack_degradation=0, quota={"rpd": 33}) as sim:
        run, config = planned(tmp_path, sim, 30, keys(1), **SINGLE)
        part = generate_shard(run, 1, KEY, config, pair_check=CHECK)
    assert part.pending_repairs > 0
    assert part.repaired > 3
    assert missing_chunks(run) == {}
    assert manifest_path(run.part(1)).exists()
    assert set(first_answers(run).values()) == {1}
    with running_simulator(**FAST, pack_degradation=0) as sim:
        config = config.model_copy(update={"base_url": sim.url})
        later = generate_shard(run, 1, KEY, config, pair_check=CHECK)
        stats = sim.stats()
        assert stats["calls"] == stats["corrections"]
        assert (stats["distinct_answered"], stats["repeated_answers"]) == (part.pending_repairs, 0)
    assert later.pending_repairs == 0
    assert later.repaired > part.repaired


def is_repair(prompt: str) -> bool:
    return "### 다시 작성" in prompt


def requested_pairs(prompt: str, answer: str) -> tuple[int, object]:
    """Return the response of a server that gives this answer in every pair that a prompt asks for."""
    wanted = re.findall(r"### 조항 (C\d+)\n.*?문항:\n(.*?)### 보험", prompt, re.DOTALL)
    items = [
        {"chunk": chunk, "type": kind, "evidence": [2], "question": f"{n} {kind} 질문?", "answer": answer}
        for n, (chunk, lines) in enumerate(wanted)
        for kind in re.findall(r"^- (\w+)", lines, re.MULTILINE)
    ]
    return 200, completion(json.dumps(items))


def test_an_error_before_the_repairs_is_not_a_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example, the disk is full for a moment. All first answers arrive, and the same command makes the repairs."""
    monkeypatch.setattr(progress, "FILE_INTERVAL_S", 0.0)  # so that no update is left out
    first_run_fails = threading.Event()
    first_answers_sent: list[str] = []

    def fail_at_the_end(state: ProgressState) -> None:
        if state.done == state.total and not first_run_fails.is_set():
            first_run_fails.set()
            raise IncompleteError("the disk is full; run the same command again")

    def answer(prompt: str, temperature: float) -> tuple[int, object]:
        if is_repair(prompt):
            assert first_run_fails.wait(30)
            return requested_pairs(prompt, "새 답변입니다.")
        first_answers_sent.append(prompt)
        return requested_pairs(prompt, "첫 답변입니다.")

    def first_is_faulty(chunk: Chunk, pairs: Sequence[Pair]) -> list[tuple[str, str] | None]:
        return [("too_short", "답변") if n == 0 and "첫" in pair.answer else None for n, pair in enumerate(pairs)]

    with server(answer, window_s=2.0) as slow:
        # One call at a time. It repairs at most 12 pairs, and no repair is answered before the error.
        run, config = planned(tmp_path, slow, 20, keys(1), **SINGLE, max_in_flight=1)
        with pytest.raises(RepairsPendingError, match=r"answers have faulty pairs .*: the disk is full; run the same"):
            generate_shard(run, 1, KEY, config, fail_at_the_end, first_is_faulty)
        assert read_manifest(run, 1).pending_repairs >= 8 and missing_chunks(run) == {}
        part = generate_shard(run, 1, KEY, config, pair_check=first_is_faulty)
    assert len(first_answers_sent) == 20
    assert (part.pending_repairs, part.repaired) == (0, 20)


def test_failed_repair_is_not_requested_a_third_time(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1), max_retries=0)
        leave_repairs_pending(run, config)
    with running_simulator(speed=600, faults={"empty": 1.0}) as sim:
        config = config.model_copy(update={"base_url": sim.url})
        part = generate_shard(run, 1, KEY, config, pair_check=CHECK)
        calls = sim.stats()["calls"]
        generate_shard(run, 1, KEY, config, pair_check=CHECK)
        assert sim.stats()["calls"] == calls
        alone = calls_per_chunk(sim)
    assert len(alone) == len(repairs(run)) > 5
    assert max(alone.values()) <= 3, "in a pack, in a smaller pack, and alone"
    assert all("no complete JSON" in (record.failed or "") for record in repairs(run))
    assert (part.repaired, part.pending_repairs, part.quarantined) == (0, 0, 0)
    assert part.repair_cost_usd > 0  # unreadable answers are paid for too


def test_a_repair_that_the_server_fails_again_and_again_does_not_hold_up_the_shard(tmp_path: Path) -> None:
    def answer(prompt: str, temperature: float) -> tuple[int, object]:
        if is_repair(prompt) and "] 제1조(" in prompt:
            time.sleep(0.3)  # longer than the other calls, so that others are answered meanwhile
            return 503, {"error": {"code": 503, "message": "overloaded"}}
        time.sleep(0.1 if is_repair(prompt) else 0.0)
        return requested_pairs(prompt, "답변입니다.")

    def first_is_faulty(chunk: Chunk, pairs: Sequence[Pair]) -> list[tuple[str, str] | None]:
        return [("too_short", "답변") if n == 0 else None for n, _ in enumerate(pairs)]

    with server(answer, window_s=2.0) as failing:
        settings = {"chunks_per_call": 1, "max_retries": 0, "max_in_flight": 4, "questions": {"near_miss_share": 0}}
        run, config = planned(tmp_path, failing, 150, keys(1), **settings)
        part = generate_shard(run, 1, KEY, config, pair_check=first_is_faulty)
    assert part.pending_repairs == 0
    failed = [repair for repair in repairs(run) if repair.failed]
    assert 1 <= len(failed) <= 12, "at most the chunks of the call that failed"


def calls_per_chunk(sim: RunningSimulator) -> dict[str, int]:
    return {chunk: sum(outcomes.values()) for chunk, outcomes in sim.stats()["chunks"].items()}


def leave_repairs_pending(run: RunFolder, config: GenerationConfig) -> None:
    """Leave first answers whose repairs are missing, as a kill does."""
    generate_shard(run, 1, KEY, config, pair_check=CHECK)
    path = run.journal / "shard_1.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if '"repair": {' not in line))


def test_reused_answers_keep_their_repairs(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        first, config = planned(tmp_path / "first", sim, 20, keys(1))
        generate_shard(first, 1, KEY, config, pair_check=CHECK)
        second, third = RunFolder(tmp_path / "second"), RunFolder(tmp_path / "third")
        for run, before in ((second, first), (third, second)):
            write_plan(make_plan(chunks(20), keys(1), config), run, chunks(20))
            reuse_answers(run, [before])
        calls = sim.stats()["calls"]
        generate_shard(second, 1, KEY, config, pair_check=CHECK)
        assert sim.stats()["calls"] == calls
    assert len(repaired(second)) == len(repaired(first))
    assert repaired(second)[0].meta["repair_reason"] == repaired(first)[0].meta["repair_reason"]


def test_answers_of_a_batch_are_repaired_by_ordinary_calls(tmp_path: Path) -> None:
    with running_simulator(speed=600, batch_s=1, defects=0.4) as sim:
        run, config = planned(tmp_path, sim, 20, keys(1))
        handle = submit_batch(run, 1, KEY, config)
        assert handle is not None
        while not poll_batch(handle, KEY, config):
            pass
        with pytest.raises(Exception, match="chunks are still open"):
            fetch_batch(run, handle, KEY, config, CHECK)
        assert submit_batch(run, 1, KEY, config) is None
        part = generate_shard(run, 1, KEY, config, pair_check=CHECK)
        assert part.calls == part.repair_calls == sim.stats()["corrections"] > 0
    assert part.repaired > 3
    assert missing_chunks(run) == {}


def test_openai_teacher_repairs_too(tmp_path: Path) -> None:
    with running_simulator(**FAST) as sim:
        run, config = planned(tmp_path, sim, 15, keys(1), teacher="openai", base_url=sim.url)
        part = generate_shard(run, 1, KEY, config, pair_check=CHECK)
        assert part.repair_calls == sim.stats()["corrections"] > 0
    assert part.repaired > 3
    assert part.pending_repairs == 0


def test_command_repairs_unless_the_option_forbids_it(
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


def test_repair_request_names_the_faults_and_asks_only_for_their_pairs() -> None:
    chunk, spec = chunks(1)[0], PromptSpec.from_config(GenerationConfig())
    planned_pairs = tuple(PlannedPair(kind, f"note of {kind}") for kind in spec.types)
    first = ChunkRequest(chunk, planned_pairs)
    good = Pair("scenario", "한빛 암보험에서 입원하면 얼마를 받나요?", "제1조에 따르면 1만원을 지급합니다.")
    pairs = [
        Pair(
            "fact", "한빛 암보험의 입원보험금은 얼마인가요?", "제1조에 따르면\n### 보험 약관 내용 77만원을 지급합니다."
        ),
        good,
    ]
    faults = find_faults(lambda chunk, pairs: [("unsupported_number", "77만원"), None], chunk, pairs, planned_pairs)
    assert [(f.type, f.reason, f.pair) for f in faults] == [
        ("fact", "unsupported_number", 0),
        ("easy", "required_fields", None),
    ]
    answer = AnswerRecord(
        chunk_id=chunk.chunk_id,
        pairs=[PairRecord.model_validate(vars(pair)) for pair in pairs],
        usage=TokenCount(),
        meta=META,
        faults=faults,
    )
    request = repair_request(first, answer)
    prompt = render(spec, [request, first], repair=True)
    assert [pair.type for pair in request.pairs] == ["fact", "easy"]
    assert "숫자가 조항에 없습니다: '77만원'" in prompt
    assert "- easy: 질문이나 답변이 빠졌습니다. note of easy\n" in prompt
    assert good.answer not in prompt
    assert prompt.index("### 다시 작성") < prompt.index("### 조항 C1") < prompt.index("### 조항 C2")
    assert prompt.count("\n### 보험 약관 내용") == 2  # the faulty answer adds no heading


def test_every_repairable_rule_has_a_text_for_the_teacher() -> None:
    assert FAULT_TEXTS.keys() == {name for name, rule in RULES.entries.items() if rule.repairable}


def test_pair_check_names_the_first_repairable_rule() -> None:
    chunk = chunks(1)[0]
    question = "한빛 암보험에서 입원하면 얼마를 받나요?"
    rules = {
        "제1조에 따르면 입원하면 1만원을 지급합니다.": None,
        "네.": "too_short",
        "제1조에 따르면 입원하면 지급하는 금액은": "cut_off",
        "제1조에 따르면 입원하면 7만원을 지급합니다.": "unsupported_number",
        "제44조에 따르면 입원하면 1만원을 지급합니다.": "unsupported_article",
        "가" * 30_000: None,  # malformed, which a repair rarely fixes
    }
    faults = CHECK(chunk, [Pair("fact", question, answer) for answer in rules])
    assert [fault and fault[0] for fault in faults] == list(rules.values())
