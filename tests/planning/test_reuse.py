from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.planning.conftest import MakeChunks, MakeKeys
from tests.planning.records import answer, quarantined, repairable, repaired

from insurance_rag.config import GenerationConfig
from insurance_rag.core.records import Chunk
from insurance_rag.core.records.generation import AnswerRecord, QuarantinedChunk
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning import make_plan, missing_chunks, read_plan, reuse_answers, write_plan
from insurance_rag.planning.generation_journal import ChunkRecord, GenerationJournal
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import read_work_items

CONFIG = GenerationConfig()


class Runs:
    """Creates planned runs in one folder."""

    def __init__(self, folder: Path, keys: MakeKeys) -> None:
        self._folder, self._keys = folder, keys

    def __call__(
        self,
        name: str,
        chunks: list[Chunk],
        records: dict[str, ChunkRecord] | None = None,
        config: GenerationConfig = CONFIG,
    ) -> RunFolder:
        run = RunFolder(self._folder / name)
        write_plan(make_plan(chunks, self._keys(2), config), run, chunks)
        items = read_work_items(run, PromptSpec.from_config(config), [c.chunk_id for c in chunks])
        with GenerationJournal(run.journal, 1) as journal:
            for item in items:
                if record := (records or {}).get(item.chunk_id):
                    journal.append(item.cache_key, record)
        return run


@pytest.fixture
def runs(tmp_path: Path, make_keys: MakeKeys) -> Runs:
    return Runs(tmp_path, make_keys)


def by_model(record: AnswerRecord, model: str) -> AnswerRecord:
    return record.model_copy(update={"meta": record.meta.model_copy(update={"model": model})})


def record_of(run: RunFolder, chunk_id: str) -> ChunkRecord:
    [item] = read_work_items(run, PromptSpec.from_config(CONFIG), [chunk_id])
    return GenerationJournal(run.journal).record(item.cache_key)


def test_answers_of_unchanged_chunks_are_copied(runs: Runs, make_chunks: MakeChunks) -> None:
    before = make_chunks(5)
    first = runs("first", before, {c.chunk_id: answer(c.chunk_id) for c in before})
    changed = before[1].model_copy(update={"text": "제2조 바뀐 조항입니다."})
    second = runs("second", [before[0], changed, *before[2:4], *make_chunks(6)[5:]])
    plan = reuse_answers(second, [first])
    assert plan.refresh is not None and plan == read_plan(second)
    assert (plan.refresh.added, plan.refresh.changed, plan.refresh.removed, plan.refresh.calls_saved) == (1, 1, 1, 3)
    assert [i for ids in missing_chunks(second).values() for i in ids] == ["c00002", "c00006"]


def test_the_best_record_of_the_newest_run_is_copied(runs: Runs, make_chunks: MakeChunks) -> None:
    chunks = make_chunks(4)
    unreadable = quarantined("c00004").model_copy(update={"reason": "unreadable"})
    oldest = runs("oldest", chunks, {"c00001": answer("c00001"), "c00002": repaired("c00002")})
    newest = runs(
        "newest", chunks, {"c00001": quarantined("c00001"), "c00003": quarantined("c00003"), "c00004": unreadable}
    )
    run = runs("run", chunks)
    plan = reuse_answers(run, [newest, oldest, run])
    assert plan.refresh and plan.refresh.calls_saved == 3
    assert record_of(run, "c00001") == answer("c00001")
    assert record_of(run, "c00002") == repaired("c00002")
    assert isinstance(record_of(run, "c00003"), QuarantinedChunk)
    assert missing_chunks(run) == {"shard 2/2 · k2": ["c00004"]}  # the fault may have passed, so it is requested again


def test_pending_repairs_are_copied(runs: Runs, make_chunks: MakeChunks) -> None:
    chunks = make_chunks(1)
    run, earlier = runs("run", chunks), runs("earlier", chunks, {"c00001": repairable("c00001")})
    reuse_answers(run, [earlier])
    assert record_of(run, "c00001") == repairable("c00001")


def test_a_damaged_record_of_an_earlier_run_is_requested_again(runs: Runs, make_chunks: MakeChunks) -> None:
    chunks = make_chunks(3)
    earlier = runs("earlier", chunks, {c.chunk_id: answer(c.chunk_id) for c in chunks})
    path = earlier.journal / "shard_1.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"chunk_id": "c00002"', b'"chunk_id": "c\x00002"'))
    run = runs("run", chunks)
    plan = reuse_answers(run, [earlier])
    assert plan.refresh and plan.refresh.calls_saved == 2
    assert [i for ids in missing_chunks(run).values() for i in ids] == ["c00002"]


def test_a_folder_without_a_journal_contributes_nothing(runs: Runs, make_chunks: MakeChunks, tmp_path: Path) -> None:
    run = runs("run", make_chunks(2))
    plan = reuse_answers(run, [RunFolder(tmp_path / "none")])
    assert plan.refresh and plan.refresh.calls_saved == 0 and plan.refresh.added == 2


OLD = GenerationConfig(model="gemini-2.5-flash", types=("fact",))
KEEPING = GenerationConfig(keep_answers_of=(OLD.model,))


def test_answers_of_an_earlier_model_are_kept_only_if_it_is_named(runs: Runs, make_chunks: MakeChunks) -> None:
    chunks = make_chunks(4)
    records: dict[str, ChunkRecord] = {
        "c00001": by_model(answer("c00001"), OLD.model),
        "c00002": by_model(repairable("c00002"), OLD.model),
        "c00003": quarantined("c00003"),
    }
    old = runs("old", chunks, records, OLD)
    without = reuse_answers(runs("without", chunks), [old])
    assert without.refresh and without.refresh.calls_saved == 0
    run = runs("run", chunks, config=KEEPING)
    plan = reuse_answers(run, [old])
    assert plan.refresh and plan.refresh.kept_from == {OLD.model: 2} and plan.refresh.calls_saved == 2
    assert record_of(run, "c00001") == records["c00001"]
    kept = record_of(run, "c00002")
    assert isinstance(kept, AnswerRecord) and kept.faults == [], "the new model does not repair answers of the old one"
    missing = [i for ids in missing_chunks(run).values() for i in ids]
    assert missing == ["c00003", "c00004"], "another model may answer what the old one refused"


def test_an_answer_of_the_current_model_is_preferred_to_a_kept_one(runs: Runs, make_chunks: MakeChunks) -> None:
    chunks = make_chunks(1)
    newest = runs("newest", chunks, {"c00001": by_model(answer("c00001"), OLD.model)}, OLD)
    current = by_model(answer("c00001", pairs=2), CONFIG.model)
    run = runs("run", chunks, config=KEEPING)
    plan = reuse_answers(run, [newest, runs("older", chunks, {"c00001": current}, CONFIG)])
    assert record_of(run, "c00001") == current and plan.refresh and plan.refresh.kept_from == {}


def test_kept_answers_are_found_after_their_prompt_file_was_removed(runs: Runs, make_chunks: MakeChunks) -> None:
    chunks = make_chunks(2)
    old = runs("old", chunks, config=OLD)
    forgotten_key = "f" * 64
    with GenerationJournal(old.journal, 1) as journal:
        journal.append(forgotten_key, by_model(answer("c00001"), OLD.model))
    config = json.loads(old.plan.read_text())
    config["config"]["prompt"] = "a_prompt_of_the_past"
    old.plan.write_text(json.dumps(config))
    row = {"chunk_id": "c00001", "meta": {"cache_key": forgotten_key}}
    old.part(1).write_text(f"[\n{json.dumps(row)},\n{{torn")
    renamed = chunks[0].model_copy(update={"chunk_id": "new_id"})
    run = runs("run", [renamed, chunks[1]], config=KEEPING)
    plan = reuse_answers(run, [old])
    assert plan.refresh and plan.refresh.kept_from == {OLD.model: 1}
    assert record_of(run, "new_id") == by_model(answer("c00001"), OLD.model)


def test_kept_answers_are_dropped_when_their_model_is_no_longer_kept(runs: Runs, make_chunks: MakeChunks) -> None:
    chunks = make_chunks(2)
    old = runs("old", chunks, {c.chunk_id: by_model(answer(c.chunk_id), OLD.model) for c in chunks}, OLD)
    keeping = runs("keeping", chunks, config=KEEPING)
    reuse_answers(keeping, [old])
    again = reuse_answers(runs("again", chunks, config=KEEPING), [keeping])
    assert again.refresh and again.refresh.kept_from == {OLD.model: 2}
    fresh = reuse_answers(runs("fresh", chunks), [keeping, old])
    assert fresh.refresh and fresh.refresh.calls_saved == 0
