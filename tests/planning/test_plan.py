from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from pydantic import JsonValue
from tests.planning.conftest import MakeChunks, MakeKeys

from insurance_rag.cli.main import main
from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import ApiKey, Chunk
from insurance_rag.core.records.planning import Refresh
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.plan import Plan, make_plan, read_plan, save_plan, with_config, write_plan

CONFIG = GenerationConfig()
Json: TypeAlias = dict[str, JsonValue]


def key(name: str, **facts: object) -> ApiKey:
    return ApiKey.model_validate({"id": name, "key": f"secret of {name}", **facts})


def test_equal_keys_get_contiguous_slices_of_equal_size(make_chunks: MakeChunks, make_keys: MakeKeys) -> None:
    plan = make_plan(make_chunks(1800), make_keys(7), CONFIG)
    assert [len(s.chunk_ids) for s in plan.shards] == [258] * 6 + [252]
    assert [i for s in plan.shards for i in s.chunk_ids] == [c.chunk_id for c in make_chunks(1800)]
    assert plan.shards[2].label == "shard 3/7 · k3"
    assert plan.partition.each_in_exactly_one_shard


def test_slices_follow_the_quotas_of_the_projects(make_chunks: MakeChunks) -> None:
    keys = [key("a", project="p", rpm=60), key("b", project="p", rpm=60), key("c", rpm=90)]
    plan = make_plan(make_chunks(150), keys, CONFIG)
    assert [len(s.chunk_ids) for s in plan.shards] == [30, 30, 90]
    assert [s.share for s in plan.shards] == [0.5, 0.5, 1.0]
    assert plan.pools == {"p": ["a", "b"], "c": ["c"]}


def test_fewer_chunks_than_keys_make_fewer_shards(make_chunks: MakeChunks, make_keys: MakeKeys) -> None:
    assert [len(s.chunk_ids) for s in make_plan(make_chunks(3), make_keys(7), CONFIG).shards] == [1, 1, 1]


def test_the_same_input_gives_the_same_plan_and_other_input_another(
    make_chunks: MakeChunks, make_keys: MakeKeys
) -> None:
    def plan_id(chunks: list[Chunk], config: GenerationConfig = CONFIG) -> str:
        return make_plan(chunks, make_keys(3), config).plan_id

    chunks = make_chunks(9)
    other = [*chunks[:-1], chunks[-1].model_copy(update={"text": "제9조 바뀐 조항입니다."})]
    assert plan_id(chunks) == plan_id(make_chunks(9))
    assert len({plan_id(chunks), plan_id(other), plan_id(chunks, GenerationConfig(model="other"))}) == 3


def test_a_plan_is_read_as_it_was_written(run: RunFolder, make_chunks: MakeChunks, make_keys: MakeKeys) -> None:
    plan = write_plan(make_plan(make_chunks(20), make_keys(3), CONFIG), run, make_chunks(20))
    assert read_plan(run) == plan
    assert "secret" not in run.plan.read_text()


def test_planning_again_keeps_the_stored_plan_and_deletes_parts_of_another_plan(
    run: RunFolder, make_chunks: MakeChunks, make_keys: MakeKeys
) -> None:
    chunks = make_chunks(20)
    plan = write_plan(make_plan(chunks, make_keys(3), CONFIG), run, chunks)
    run.parts.mkdir()
    run.part(1).write_text("[]")
    refresh = Refresh(previous=["earlier"], added=0, changed=0, removed=0, calls_saved=5)
    save_plan(plan.model_copy(update={"refresh": refresh}), run)
    assert write_plan(plan, run, chunks).refresh == refresh
    assert run.part(1).exists()
    assert write_plan(make_plan(chunks, make_keys(2), CONFIG), run, chunks).refresh is None
    assert not run.part(1).exists()


def test_without_a_plan_the_error_says_how_to_make_one(run: RunFolder) -> None:
    with pytest.raises(InvalidInputError, match="plan --chunks"):
        read_plan(run)


def test_unknown_shard_and_no_keys(make_chunks: MakeChunks, make_keys: MakeKeys) -> None:
    with pytest.raises(InvalidInputError, match="unknown shard 3; use one of the plan: 1 to 2"):
        make_plan(make_chunks(4), make_keys(2), CONFIG).shard(3)
    with pytest.raises(InvalidInputError, match="no API keys"):
        make_plan(make_chunks(4), [], CONFIG)


def test_changed_settings_keep_the_shards(run: RunFolder, make_chunks: MakeChunks, make_keys: MakeKeys) -> None:
    plan = write_plan(make_plan(make_chunks(6), make_keys(2), CONFIG), run, make_chunks(6))
    assert with_config(plan, plan.config, run) is plan
    assert with_config(plan, GenerationConfig(model="other"), run).shards == plan.shards
    assert read_plan(run).config.model == "other"


@pytest.mark.slow
def test_a_hundred_thousand_chunks_are_planned_in_under_five_seconds(
    run: RunFolder, make_chunks: MakeChunks, make_keys: MakeKeys
) -> None:
    chunks = make_chunks(100_000)
    started = time.process_time()
    write_plan(make_plan(chunks, make_keys(7), CONFIG), run, chunks)
    assert time.process_time() - started < 5


# ---- plan.json edited by hand


def duplicate_chunk(plan: Json) -> None:
    first, second = shards_of(plan)[:2]
    chunk_ids, others = first["chunk_ids"], second["chunk_ids"]
    assert isinstance(chunk_ids, list) and isinstance(others, list)
    chunk_ids.append(others[0])


def remove_chunk(plan: Json) -> None:
    chunk_ids = shards_of(plan)[0]["chunk_ids"]
    assert isinstance(chunk_ids, list)
    chunk_ids.pop()


def repeat_shard_number(plan: Json) -> None:
    shards_of(plan)[1]["shard"] = 1


def shards_of(plan: Json) -> list[Json]:
    shards = plan["shards"]
    assert isinstance(shards, list)
    return [shard for shard in shards if isinstance(shard, dict)]


EDITS: list[tuple[str, Callable[[Json], object], str]] = [
    ("chunk twice", duplicate_chunk, "does not have each chunk in exactly one shard"),
    ("chunk removed", remove_chunk, "does not have each chunk in exactly one shard"),
    ("shard number twice", repeat_shard_number, "shard 1 is listed 2 times"),
    ("shard number too high", lambda plan: shards_of(plan)[1].update(shard=7), "numbered 1, 7, not 1 to 2"),
    ("no partition", lambda plan: plan.pop("partition"), "partition: Field required"),
    ("empty partition", lambda plan: plan.update(partition={}), "partition.chunk_ids_sha256: Field required"),
    ("no shards", lambda plan: plan.pop("shards"), "shards: Field required"),
    ("shards of another type", lambda plan: plan.update(shards="all"), "shards: Input should be a valid list"),
    ("unknown field", lambda plan: plan.update(moved={}), "moved: Extra inputs are not permitted"),
    ("setting", lambda plan: plan.update(config={"timeout_s": -1}), "config.timeout_s: Input should be greater"),
]


@pytest.fixture
def planned(run: RunFolder, make_chunks: MakeChunks, make_keys: MakeKeys) -> Plan:
    return write_plan(make_plan(make_chunks(6), make_keys(2), CONFIG), run, make_chunks(6))


@pytest.mark.parametrize(("edit", "message"), [pytest.param(edit, text, id=name) for name, edit, text in EDITS])
def test_an_edited_plan_is_an_input_error_that_says_what_to_do(
    run: RunFolder,
    planned: Plan,
    edit: Callable[[Json], object],
    message: str,
    make_chunks: MakeChunks,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = json.loads(run.plan.read_text())
    edit(content)
    run.plan.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError) as caught:
        read_plan(run)
    assert any(problem.startswith(f"{run.plan}: ") and message in problem for problem in caught.value.problems)
    assert "make the plan again" in str(caught.value)
    assert main(["generate", "--run", str(run.root)]) == 2
    assert message in capsys.readouterr().err
    assert write_plan(planned, run, make_chunks(6)) == planned == read_plan(run)


def test_a_run_of_version_0_1_0_is_recognised_and_left_alone(
    run: RunFolder, planned: Plan, make_chunks: MakeChunks, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads(run.plan.read_text())
    partition = content.pop("partition")
    content |= {"proof": partition, "moved": {}}
    run.plan.write_text(json.dumps(content))
    old_journal = run.journal / "shard_1.jsonl"
    old_journal.parent.mkdir(parents=True)
    old_journal.write_text('{"key": "' + "0" * 64 + '", "state": "answered", "chunk_id": "c00001", "pairs": []}\n')
    run.part(1).write_text("[]")
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    advice = r"version 0\.1\.0 wrote this run.*into a new run folder"
    with pytest.raises(InvalidInputError, match=advice):
        read_plan(run)
    with pytest.raises(InvalidInputError, match=advice):
        write_plan(planned, run, make_chunks(6))
    assert main(["generate", "--run", str(run.root)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    after = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if path.suffix != ".lock"} == {
        path: content for path, content in before.items() if path.suffix != ".lock"
    }


def test_all_problems_of_a_plan_are_listed(run: RunFolder, planned: Plan) -> None:
    content = json.loads(run.plan.read_text())
    content |= {"chunks": "many", "pools": 1, "plan_id": None}
    run.plan.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError) as caught:
        read_plan(run)
    assert [p.split(": ")[1] for p in caught.value.problems] == ["plan_id", "chunks", "pools"]


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b'"text"', b"[" * 100_000, b"{}"])
def test_a_damaged_plan_is_an_input_error_and_can_be_made_again(
    run: RunFolder, planned: Plan, content: bytes, make_chunks: MakeChunks
) -> None:
    run.plan.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"plan\.json"):
        read_plan(run)
    assert write_plan(planned, run, make_chunks(6)) == planned == read_plan(run)


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bits_in_a_plan_are_found_or_harmless(run: RunFolder, planned: Plan, seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(run.plan.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    run.plan.write_bytes(data)
    try:
        plan = read_plan(run)
    except InvalidInputError:
        return
    assert [i for shard in plan.shards for i in shard.chunk_ids] == [i for s in planned.shards for i in s.chunk_ids]


def test_the_run_folder_may_be_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_chunks: MakeChunks, make_keys: MakeKeys
) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunFolder(Path("run"))
    plan = write_plan(make_plan(make_chunks(6), make_keys(2), CONFIG), run, make_chunks(6))
    assert read_plan(run) == plan
