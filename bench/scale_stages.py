"""The stages that `bench.scale` measures. Each is a function of a folder with inputs and of the number of items.

A stage is the real code on real files. What is made for the measurement is small: the chunks, the answers, and a clock
that jumps to the time at which the next call may be sent.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.scale_inputs import KEYS, REPAIRABLE, answer_record, keys
from insurance_rag.core.run_folder import RunFolder

Inputs = Literal["run", "rows", "dataset", "answers"]

REQUESTS, QUERIES = 20, 200
"""Number of pages and of searches of which the mean is taken."""
PACK = 8
"""Number of chunks per call."""
EDITED = 20
"""One chunk in so many differs between the two editions."""
EARLIER_RUNS = 4


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline."""

    work: Callable[[Path, int], object]
    what: str
    inputs: Inputs
    unit: str
    times: int = 1
    """How often `work` repeats what is measured, e.g. the number of requests. The result is divided by it."""
    after: str = ""
    """Stage whose result it needs."""


STAGES: dict[str, Stage] = {}


def stage(name: str, what: str, inputs: Inputs, unit: str, times: int = 1, after: str = "") -> Callable[[Work], Work]:
    """Register a stage."""

    def register(work: Work) -> Work:
        STAGES[name] = Stage(work, what, inputs, unit, times, after)
        return work

    return register


Work = Callable[[Path, int], object]

# ---- planning


@stage("plan", f"`plan`: read and check the chunks, divide them among {KEYS} keys, write the plan", "run", "chunks")
def plan(folder: Path, n: int) -> object:
    from insurance_rag.chunks import read_chunks
    from insurance_rag.config import GenerationConfig
    from insurance_rag.planning import make_plan, write_plan

    chunks = read_chunks(folder / "chunks.jsonl")
    return write_plan(make_plan(chunks, keys(), GenerationConfig()), RunFolder(folder / "planned"), chunks)


@stage("refresh", f"`plan --previous`: reuse the answers of {EARLIER_RUNS} earlier runs", "run", "chunks")
def refresh(folder: Path, n: int) -> object:
    from insurance_rag.planning import reuse_answers

    full, run = RunFolder(folder / "run"), RunFolder(folder / "refreshed")
    run.root.mkdir()
    run.chunks.hardlink_to(full.chunks)
    run.plan.write_bytes(full.plan.read_bytes())
    earlier = []
    for k in range(EARLIER_RUNS):
        shutil.copytree(full.root, folder / f"earlier{k}", copy_function=os.link)
        earlier.append(RunFolder(folder / f"earlier{k}"))
    found = reuse_answers(run, earlier).refresh
    assert found and found.calls_saved == n
    return found


@stage("editions", f"compare two editions that differ in every {EDITED}th chunk", "run", "chunks")
def editions(folder: Path, n: int) -> object:
    from insurance_rag.chunks import read_chunks
    from insurance_rag.ingest.editions import compare_editions

    old = read_chunks(folder / "chunks.jsonl")
    new = [
        chunk if k % EDITED else chunk.model_copy(update={"text": f"{chunk.text}\n④ 이 조는 2027년부터 적용합니다."})
        for k, chunk in enumerate(old)
    ]
    changes = compare_editions(old, new)
    assert changes.counts.changed == -(-n // EDITED)
    return changes


# ---- journals and logs


@stage("worker_start", f"start one of {KEYS} workers of a run whose chunks are all answered", "run", "chunks")
def worker_start(folder: Path, n: int) -> object:
    from insurance_rag.generation.work_pool import WorkPool
    from insurance_rag.planning import read_plan
    from insurance_rag.planning.claims import ClaimLog
    from insurance_rag.planning.generation_journal import GenerationJournal
    from insurance_rag.planning.prompt_spec import PromptSpec
    from insurance_rag.planning.work_items import check_run_chunks, work_items_by_shard

    run = RunFolder(folder / "run")
    found = read_plan(run)
    check_run_chunks(run, found)
    items = work_items_by_shard(run, PromptSpec.from_config(found.config), found.shards)
    with GenerationJournal(run.journal) as journal, closing(ClaimLog(run, 1, 60.0)) as claims:
        pool = WorkPool(1, items, journal, claims)
        assert len(journal) == n and not pool.has_open_chunks()
        return pool


@stage("journal_append", "append one record per chunk to a journal, and sync every hundredth time", "run", "records")
def journal_append(folder: Path, n: int) -> object:
    from insurance_rag.core.journal import Journal

    with Journal(folder / "appended.jsonl", append=True) as journal:
        for k in range(n):
            journal.append(answer_record(f"{k:064x}", f"c{k}", "k1", k % REPAIRABLE == 0))
            if k % 100 == 99:
                journal.sync()
    return journal


@stage("journal_replay", f"open the {KEYS} journals of a run", "run", "records")
def journal_replay(folder: Path, n: int) -> object:
    from insurance_rag.planning.generation_journal import GenerationJournal

    journal = GenerationJournal(RunFolder(folder / "run").journal)
    assert len(journal) == n
    return journal


@stage("rate_limit", f"admit and record calls of {KEYS} keys in the shared log of the rate limiter", "run", "calls")
def rate_limit(folder: Path, n: int) -> object:
    from insurance_rag.config import GenerationConfig
    from insurance_rag.planning.shards import make_shards
    from insurance_rag.rate_limit.limiter import AnswerCounts, CallSize, Limiter
    from insurance_rag.rate_limit.state import RateLimitState

    now = 1_800_000_000.0

    class Next:
        def size(self, state: RateLimitState, now: float) -> CallSize:
            return CallSize(chars=3000, chunks=PACK, pairs=3 * PACK)

        def claim(self, size: CallSize) -> bool:
            return True

    async def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def admit(limiter: Limiter) -> None:
        for _ in range(n):
            call = await limiter.acquire(Next())
            assert call
            limiter.answered(call, AnswerCounts(2000, 800, PACK, 3 * PACK))

    (shard,) = make_shards(["c1"], keys()[:1])
    path = folder / "rate_limit.jsonl"
    with closing(Limiter(path, shard, keys()[0], GenerationConfig(), clock=lambda: now, sleep=wait)) as limiter:
        asyncio.run(admit(limiter))
    return path


@stage("rate_limit_replay", "read the log of the rate limiter, as each worker does", "run", "calls", after="rate_limit")
def rate_limit_replay(folder: Path, n: int) -> object:
    from insurance_rag.rate_limit.event_log import read_rate_limit_state

    state = read_rate_limit_state(folder / "rate_limit.jsonl")
    assert sum(counts["answers"] for counts in state.usage_counts.values()) == n
    return state


@stage("work_pool", f"one worker claims and records all chunks, {PACK} per call, then all repairs", "run", "chunks")
def work_pool(folder: Path, n: int) -> object:
    from insurance_rag.core.records.generation import AnswerRecord, RepairRecord
    from insurance_rag.generation.work_pool import WorkPool
    from insurance_rag.planning import read_plan
    from insurance_rag.planning.claims import ClaimLog
    from insurance_rag.planning.generation_journal import GenerationJournal
    from insurance_rag.planning.prompt_spec import PromptSpec
    from insurance_rag.planning.work_items import WorkItem, work_items_by_shard

    run, worker = RunFolder(folder / "run"), RunFolder(folder / "worker")
    found = read_plan(run)
    items = work_items_by_shard(run, PromptSpec.from_config(found.config), found.shards)
    fields = answer_record("", "c", "k1", has_fault=True)
    answer = AnswerRecord.model_validate({k: v for k, v in fields.items() if k not in ("cache_key", "state", "repair")})
    repair = RepairRecord.model_validate(fields["repair"])
    worker.parts.mkdir(parents=True)
    with (
        GenerationJournal(worker.journal, 1) as journal,
        ExitStack() as stack,
    ):
        claims, *_ = [stack.enter_context(closing(ClaimLog(worker, number, 60.0))) for number in sorted(items)]
        pool = WorkPool(1, items, journal, claims)

        def record(asked: Sequence[WorkItem], k: int) -> None:
            for item in asked:
                faulty = (k + len(item.chunk_id)) % REPAIRABLE == 0
                journal.append(item.cache_key, answer if faulty else answer.model_copy(update={"faults": []}))

        calls = 0
        while asked := pool.next_chunks(PACK):
            assert pool.claim(asked)
            record(asked, calls)
            calls += 1
        while asked := pool.repairable(3 * PACK):
            assert pool.claim(asked, repair=True)
            for item in asked:
                journal.append(item.cache_key, answer.model_copy(update={"repair": repair}))
        assert len(journal) == n
        return pool


# ---- parts, validation, retrieval, training


@stage("parts", f"write the {KEYS} parts and their manifests from the journals", "run", "chunks")
def parts(folder: Path, n: int) -> object:
    from insurance_rag.core.records.usage import Usage
    from insurance_rag.generation.parts import finish_part
    from insurance_rag.planning import read_plan
    from insurance_rag.planning.generation_journal import GenerationJournal
    from insurance_rag.planning.prompt_spec import PromptSpec
    from insurance_rag.planning.work_items import work_items_by_shard

    run = RunFolder(folder / "run")
    found = read_plan(run)
    items = work_items_by_shard(run, PromptSpec.from_config(found.config), found.shards)
    with GenerationJournal(run.journal) as journal:
        rows = [finish_part(run, found, s, items, journal, Usage()).rows for s in found.shards]
    assert sum(rows) >= 3 * n
    return rows


@stage("resume", f"`generate` of a finished run, {KEYS} shards in one process", "run", "chunks", after="parts")
def resume(folder: Path, n: int) -> object:
    from insurance_rag.generation import generate_run

    result = generate_run(RunFolder(folder / "run"), keys())
    assert result.chunks == n and result.calls == 0
    return result


@stage("near_duplicates", "read the rows, and find near duplicates", "rows", "rows")
def near_duplicates(folder: Path, n: int) -> object:
    from bench.dataset import apply_rules
    from insurance_rag.chunks import read_chunks
    from insurance_rag.config import ValidationConfig

    chunks = read_chunks(folder / "parts" / "chunks.jsonl")
    config = ValidationConfig(retriever_check=False, rules=("required_fields", "near_duplicate"))
    apply_rules(folder / "parts", chunks, folder / "near", config)
    return None


@stage("validate", "`validate` without the retriever check: all rules, all training files", "rows", "rows")
def validate(folder: Path, n: int) -> object:
    from insurance_rag.chunks import read_chunks
    from insurance_rag.config import ValidationConfig
    from insurance_rag.validation.validate import validate_parts

    chunks = read_chunks(folder / "parts" / "chunks.jsonl")
    return validate_parts([folder / "parts"], chunks, folder / "validated", ValidationConfig(retriever_check=False))


@stage("index", "build and store the BM25 index", "run", "chunks")
def index(folder: Path, n: int) -> object:
    from insurance_rag.chunks import read_chunks
    from insurance_rag.retrieval.retrievers.bm25 import Bm25Retriever

    return Bm25Retriever(read_chunks(folder / "chunks.jsonl"), folder / "index")


@stage("search", "one search in the BM25 index", "run", "chunks", QUERIES, after="index")
def search(folder: Path, n: int) -> object:
    from insurance_rag.chunks import read_chunks
    from insurance_rag.retrieval.retrievers.bm25 import Bm25Retriever

    chunks = read_chunks(folder / "chunks.jsonl")
    retriever = Bm25Retriever(chunks, folder / "index")

    def work() -> None:
        for k in range(QUERIES):
            assert retriever.search(chunks[k * 37 % n].text.split("\n")[1][:60])

    return work


@stage("training_rows", "read the rows of a training file", "dataset", "rows")
def training_rows(folder: Path, n: int) -> object:
    from insurance_rag.training.dataset_rows import read_rows

    rows = read_rows(folder / "dataset" / "train.jsonl")
    assert len(rows) == n
    return rows


# ---- pages


@stage("report", "the report page of a run with this many questions and two models", "answers", "questions")
def report(folder: Path, n: int) -> object:
    from insurance_rag.report import render_report

    return render_report(RunFolder(folder / "evaluated"), folder / "report.html")


@stage("approval", "compare a dataset with the published one for the approval page", "dataset", "rows")
def approval(folder: Path, n: int) -> object:
    from insurance_rag.orchestration.dataset_changes import compare_datasets

    changes = compare_datasets(folder / "dataset", folder / "dataset", {})
    assert not changes.total.any
    return changes


@stage("review_load", "load a dataset for the review pages, once per dataset and api-server", "dataset", "rows")
def review_load(folder: Path, n: int) -> object:
    from insurance_rag.core.dataset_folder import DatasetFolder
    from insurance_rag.validation.review_items import read_row_items

    items = read_row_items(DatasetFolder(folder / "dataset"))
    assert len(items) >= n
    return items


@stage("review_page", "one request for a review page", "dataset", "rows", REQUESTS)
def review_page(folder: Path, n: int) -> object:
    from insurance_rag.core.dataset_folder import DatasetFolder
    from insurance_rag.review.pages.filters import Filters, count_facets, select
    from insurance_rag.review.progress import count_decisions
    from insurance_rag.review.store import ReviewStore
    from insurance_rag.validation.review_items import read_row_items

    items = read_row_items(DatasetFolder(folder / "dataset"))
    states = ReviewStore(folder / "reviews", "row").states()

    def work() -> None:
        for k in range(REQUESTS):
            selection = select(items, states, Filters(status="open"), "reviewer")
            count_facets(items, Filters(status="open"))
            count_decisions(selection.base, states)
            key = items[k * 37 % n].key
            assert selection.position(key) and selection.neighbors(key) and selection.next_undecided(key, states)

    return work
