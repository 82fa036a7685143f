"""Calls about several chunks: they bring the same pairs as single calls, also if answers are incomplete or mixed up."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import JsonValue
from tests.generation.fixed_server import completion, server
from tests.generation.runs import SINGLE, chunks, first_answers, journal_records, keys, planned, rows

from gemini_simulator import RunningSimulator, running_simulator
from insurance_rag.core.records.generation import AnswerRecord
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import generate_run, generate_shard, missing_chunks
from insurance_rag.generation.packing import MAX_SIZE, approved_size
from insurance_rag.rate_limit.event_log import read_rate_limit_state
from insurance_rag.validation.pair_check import pair_check

FAST: dict[str, float] = {"speed": 600, "latency_s": 1.0}
GOOD: dict[str, float] = {**FAST, "defects": 0, "pack_degradation": 0}
KEY = keys(1)[0]
N = 30

JsonObject = dict[str, JsonValue]


def generated(folder: Path, sim: RunningSimulator, **settings: object) -> RunFolder:
    run, config = planned(folder, sim, N, keys(1), **settings)
    part = generate_shard(run, 1, KEY, config)
    assert (part.chunks, part.quarantined, missing_chunks(run)) == (N, 0, {})
    return run


def contents(run: RunFolder) -> Counter[tuple[str, str, str, str, str]]:
    return Counter((row.chunk_id, row.type, row.instruction, row.output, row.evidence) for row in rows(run))


def records(run: RunFolder) -> list[AnswerRecord]:
    return [AnswerRecord.model_validate(record) for record in journal_records(run) if record["state"] == "answered"]


def sizes(run: RunFolder) -> Counter[int]:
    """Return how many chunks were answered in calls of each size."""
    return Counter(record.meta.chunks_per_call for record in records(run))


@pytest.mark.parametrize(("setting", "size"), [(4, 4), (MAX_SIZE, MAX_SIZE), ("auto", None)])
def test_packed_run_has_the_same_rows_as_a_single_chunk_run(
    tmp_path: Path, setting: int | str, size: int | None
) -> None:
    with running_simulator(**GOOD) as sim:
        single = generated(tmp_path / "single", sim, chunks_per_call=1)
        calls = sim.stats()["calls"]
        packed = generated(tmp_path / "packed", sim, chunks_per_call=setting)
        packed_calls = sim.stats()["calls"] - calls
    assert contents(packed) == contents(single)
    assert "unanswerable" in {row.type for row in rows(packed)}
    assert sizes(single) == {1: N}
    assert calls == N
    if size is None:
        assert 4 in sizes(packed) and packed_calls <= N / 2
    else:
        assert sizes(packed) == ({size: N - N % size, N % size: N % size} if N % size else {size: N})
        assert packed_calls == -(-N // size)


def test_tokens_of_a_call_are_divided_among_its_chunks(tmp_path: Path) -> None:
    with running_simulator(**GOOD) as sim:
        run, config = planned(tmp_path, sim, N, keys(1), chunks_per_call=7)
        part = generate_shard(run, 1, KEY, config)
    assert sum(record.usage.tokens_in for record in records(run)) == part.tokens_in > 0
    assert sum(record.usage.tokens_out for record in records(run)) == part.tokens_out > 0
    assert all(record.usage.tokens_in > 0 and record.usage.tokens_out > 0 for record in records(run))


@pytest.mark.parametrize(
    "damage",
    [{"pack_faults": {name: 1.0}} for name in ("fewer", "more", "reordered", "foreign_ids")]
    + [{"pack_faults": {"fewer": 0.5, "more": 0.5, "reordered": 0.5, "foreign_ids": 0.5}}, {"poison": 0.15}],
    ids=["fewer", "more", "reordered", "foreign_ids", "all", "poison"],
)
def test_packs_that_the_teacher_answers_wrongly_lose_no_chunk_and_mix_up_none(
    tmp_path: Path, damage: dict[str, object]
) -> None:
    with running_simulator(**GOOD) as sim:
        right = contents(generated(tmp_path / "right", sim, **SINGLE))
    with running_simulator(**GOOD, **damage) as sim:
        run = generated(tmp_path / "run", sim, chunks_per_call=6, questions={"near_miss_share": 0})
        stats = sim.stats()
    assert contents(run) == right
    assert stats["repeated_answers"] == 0
    assert max(sizes(run)) == 6 or "poison" in damage
    asked = [sum(outcomes.values()) for outcomes in stats["chunks"].values()]
    assert max(asked) <= 3, "in a pack, in a smaller pack, and alone"


@pytest.mark.parametrize("fault", ["max_tokens", "malformed"])
def test_cut_answers_cost_calls_but_no_chunk(tmp_path: Path, fault: str) -> None:
    with running_simulator(**GOOD, faults={fault: 0.4}) as sim:
        run = generated(tmp_path, sim, chunks_per_call=6, questions={"near_miss_share": 0})
        outcomes = sim.stats()["chunks"].values()
    kept = [found for found in outcomes if "answered" not in found]
    assert len(kept) > 3, "some chunks were complete in a cut answer"
    assert all(count == 1 for found in outcomes for name, count in found.items() if name == "answered")
    assert set(first_answers(run).values()) == {1}
    assert len(first_answers(run)) == 3 * N


def items(prompt: str) -> list[JsonObject]:
    """Return one item for every pair that a prompt asks for."""
    found = re.findall(r"### 조항 (C\d+)\n.*?문항:\n(.*?)### 보험 약관 내용\n\[1\] (제\d+조)", prompt, re.DOTALL)
    return [
        {
            "chunk": name,
            "type": kind,
            "evidence": [2],
            "question": f"{article} {kind}?",
            "answer": f"{article} 답입니다.",
        }
        for name, wanted, article in found
        for kind in re.findall(r"^- (\w+):", wanted, re.MULTILINE)
    ]


def cut_after(n_items: int, finish: str) -> Callable[[str, float], tuple[int, object]]:
    """Return an answer that ends in the middle of the item with this index."""

    def answer(prompt: str, temperature: float) -> tuple[int, object]:
        whole = [json.dumps(item, ensure_ascii=False) for item in items(prompt)]
        text = "[" + ", ".join([*whole[:n_items], whole[n_items][:30]])
        return 200, completion(text, finish)

    return answer


@pytest.mark.parametrize("finish", ["MAX_TOKENS", "STOP"])
@pytest.mark.parametrize("checked", [False, True])
def test_the_complete_chunks_of_a_cut_answer_are_not_asked_for_again(
    tmp_path: Path, finish: str, checked: bool
) -> None:
    prompts: list[str] = []

    def whole(prompt: str, temperature: float) -> tuple[int, object]:
        prompts.append(prompt)
        return 200, completion(json.dumps(items(prompt)))

    with server(cut_after(7, finish), whole) as sim:  # of 4 chunks, two are complete, and the third has one pair
        run, config = planned(tmp_path, sim, 4, keys(1), chunks_per_call=4, questions={"near_miss_share": 0})
        part = generate_shard(run, 1, KEY, config, pair_check=(lambda c, p: [None] * len(p)) if checked else None)
    wanted = [(item["question"]) for prompt in prompts for item in items(prompt)]
    fourth = [f"제4조 {kind}?" for kind in config.types]
    if checked:  # the missing pairs of the third chunk are requested like a repair
        assert Counter(wanted) == Counter([*fourth, "제3조 scenario?", "제3조 easy?"])
        assert part.repair_calls == 1
    else:
        assert Counter(wanted) == Counter([*fourth, *(f"제3조 {kind}?" for kind in config.types)])
    assert Counter((row.chunk_id, row.type) for row in rows(run)) == Counter(
        (chunk.chunk_id, kind) for chunk in chunks(4) for kind in config.types
    )


def test_packs_shrink_if_the_teacher_confuses_their_chunks(tmp_path: Path) -> None:
    with running_simulator(**FAST, defects=0.1, pack_degradation=0.15, quota={"rpm": 30}) as sim:
        run, config = planned(tmp_path, sim, 150, keys(1), repair=False)
        generate_run(run, keys(1), config, pair_check())
        stats = sim.stats()
    state = read_rate_limit_state(run.rate_limit_log)
    assert approved_size(state.packs) <= 2
    assert {chunk_id for chunk_id, _ in first_answers(run)} == {chunk.chunk_id for chunk in chunks(150)}
    assert stats["repeated_answers"] == 0


def test_packs_grow_while_their_quality_is_as_good(tmp_path: Path) -> None:
    with running_simulator(**GOOD, quota={"rpm": 10}) as sim:
        run, config = planned(tmp_path, sim, 200, keys(1))
        result = generate_run(run, keys(1), config, pair_check())
    counts = read_rate_limit_state(run.rate_limit_log).packs
    assert approved_size(counts) == MAX_SIZE
    assert counts[1].calls >= 2, "control calls with one chunk"
    assert result.calls - result.repair_calls < 200 / 5


def test_a_server_that_answers_only_about_the_last_chunk_gets_single_chunks(tmp_path: Path) -> None:
    """Such a server names no chunk in its items, so answers to packs cannot be matched."""

    def answer(prompt: str, temperature: float) -> tuple[int, object]:
        text = prompt.split("### 보험 약관 내용\n")[-1]
        pairs = [
            {"type": kind, "question": f"{kind} {text[4:12]}?", "answer": text.strip(), "evidence": text.strip()}
            for kind in ("fact", "scenario", "easy")
        ]
        parts = [{"text": json.dumps(pairs, ensure_ascii=False)}]
        return 200, {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}

    with server(answer, window_s=1.0) as simple:
        run, config = planned(tmp_path, simple, 60, keys(2), questions={"near_miss_share": 0})
        generate_run(run, keys(2), config)
    assert missing_chunks(run) == {}
    assert set(first_answers(run).values()) == {1} and len(first_answers(run)) == 180
    assert all(row.evidence in row.input and row.output.startswith("제") for row in rows(run))
