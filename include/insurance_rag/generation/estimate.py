"""Estimate the calls, tokens, cost and duration of a generation before its first call.

Only missing answers count, because reused answers cost nothing. The estimate is meant to be right within a factor of
about 1.5; a budget is enforced with the measured sizes of requests and answers (see `usage.budget_guard`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import write_json
from insurance_rag.core.records import Chunk, Shard
from insurance_rag.core.records.generation import TeacherInfo
from insurance_rag.core.records.planning import GenerationEstimate
from insurance_rag.core.registry import registry
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.llm.catalog import batch_price_fraction, price_of
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.plan import Plan
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.question_plan import plan_pairs
from insurance_rag.planning.work_items import missing_work_items, read_chunk
from insurance_rag.rate_limit.backoff import quota_window_s

TOKENS_PER_CHARACTER = 0.75
"""Tokens per character of Korean text in Gemini's tokenizer, as a rough average."""
SECTION_CHARACTERS = 100
"""Characters that a prompt adds to each chunk: headings, product, section, and the marks of the sentences."""
NOTE_CHARACTERS = 50
"""Characters of the line that describes one requested pair."""
TOKENS_OUT_PER_PAIR = 200
"""Output tokens per pair: a question and an answer of about 180 Korean characters, and the JSON around them."""
AUTO_CHUNKS_PER_CALL = 8
"""Largest number of chunks per call that is assumed for `chunks_per_call: auto`."""
REPAIR_SHARE = 0.1
"""Fraction of the chunks whose answer is assumed to have a faulty pair."""
DAY_S = 86_400


@dataclass
class MissingWork:
    """What the estimate needs to know about the missing chunks of one shard."""

    shard: Shard
    chunks: int = 0
    characters: int = 0
    pairs: int = 0

    def add(self, chunk: Chunk, spec: PromptSpec) -> None:
        """Add a missing chunk."""
        pairs = len(plan_pairs(spec, chunk))
        self.chunks += 1
        self.pairs += pairs
        self.characters += len(chunk.text) + SECTION_CHARACTERS + pairs * NOTE_CHARACTERS


@dataclass(frozen=True)
class Load:
    """Calls and tokens that a shard, or all shards of a quota pool together, will need."""

    calls: int = 0
    tokens_in: float = 0.0
    tokens_out: float = 0.0

    def __add__(self, other: Load) -> Load:
        return Load(self.calls + other.calls, self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)


def estimate_run(run: RunFolder, plan: Plan) -> GenerationEstimate:
    """Return the estimate for the missing answers of a planned run."""
    with GenerationJournal(run.journal) as journal:
        missing = missing_work_items(run, plan, journal)
    chunks = {number: (read_chunk(run, item) for item in items) for number, items in missing.items()}
    return _estimate(plan, chunks)


def estimate_corpus(plan: Plan, chunks: Iterable[Chunk]) -> GenerationEstimate:
    """Return the estimate for all chunks of a plan, as if no answer could be reused."""
    by_id = {chunk.chunk_id: chunk for chunk in chunks}
    return _estimate(plan, {shard.shard: (by_id[i] for i in shard.chunk_ids) for shard in plan.shards})


def write_estimate(run: RunFolder, plan: Plan) -> GenerationEstimate:
    """Write the estimate for the missing answers to RUN/estimate.json, and return it."""
    estimate = estimate_run(run, plan)
    write_json(run.estimate, estimate.model_dump(mode="json"))
    return estimate


def describe_estimate(estimate: GenerationEstimate) -> str:
    """Return the estimate as one sentence."""
    if not estimate.chunks:
        return f"all {estimate.reused:,} chunks have an answer already, so nothing is requested"
    cost = "an unknown cost" if estimate.cost_usd is None else f"about {show_usd(estimate.cost_usd)}"
    duration = "" if estimate.seconds is None else f" and {_duration(estimate.seconds)} at the configured quotas"
    reused = f" ({estimate.reused:,} more have an answer already)" if estimate.reused else ""
    return (
        f"{estimate.chunks:,} chunks to request from {estimate.model}{reused}: about {estimate.calls:,} calls, "
        f"{estimate.tokens_in:,} input and {estimate.tokens_out:,} output tokens, {cost}{duration}"
    )


def show_usd(cost: float) -> str:
    """Return an amount in dollars, with four decimals if it is below one dollar."""
    return f"${cost:,.2f}" if cost >= 1 else f"${cost:.4f}"


def _estimate(plan: Plan, chunks: Mapping[int, Iterable[Chunk]]) -> GenerationEstimate:
    config = plan.config
    spec = PromptSpec.from_config(config)
    teacher: TeacherInfo = registry("teacher")[config.teacher]
    repair_share = REPAIR_SHARE if config.repair and teacher.supports_repair else 0.0
    work = list(_measure(plan, chunks, spec))
    loads = [_load(one, config, len(spec.template), repair_share) for one in work]
    total = sum(loads, Load())
    price = price_of(config)
    fraction = batch_price_fraction(config) if config.batch else 1.0
    cost = (total.tokens_in * price.input + total.tokens_out * price.output) * fraction / 1e6 if price else None
    requested = sum(one.chunks for one in work)
    return GenerationEstimate(
        model=config.model,
        chunks=requested,
        reused=plan.chunks - requested,
        calls=total.calls,
        tokens_in=round(total.tokens_in),
        tokens_out=round(total.tokens_out),
        cost_usd=None if cost is None else round(cost, 4),
        seconds=None if config.batch else _seconds(work, loads, quota_window_s(config)),
        repair_share=repair_share,
    )


def _measure(plan: Plan, chunks: Mapping[int, Iterable[Chunk]], spec: PromptSpec) -> Iterator[MissingWork]:
    for number, missing in chunks.items():
        work = MissingWork(plan.shard(number))
        for chunk in missing:
            work.add(chunk, spec)
        if work.chunks:
            yield work


def _load(work: MissingWork, config: GenerationConfig, prompt_characters: int, repair_share: float) -> Load:
    """Return the calls and tokens for the first answers and the repairs of one shard.

    A repair request contains the whole chunk, but asks for one pair only.
    """
    size = _chunks_per_call(work, config)
    calls = math.ceil(work.chunks / size)
    repaired = math.ceil(work.chunks * repair_share)
    repair_calls = math.ceil(repaired / size)
    characters = (calls + repair_calls) * prompt_characters + work.characters * (1 + repaired / work.chunks)
    return Load(
        calls=calls + repair_calls,
        tokens_in=characters * TOKENS_PER_CHARACTER,
        tokens_out=(work.pairs + repaired) * TOKENS_OUT_PER_PAIR,
    )


def _chunks_per_call(work: MissingWork, config: GenerationConfig) -> int:
    """Return the assumed number of chunks per call. `auto` packs no more chunks than the quota makes necessary."""
    teacher: TeacherInfo = registry("teacher")[config.teacher]
    if not teacher.supports_packs:
        return 1
    if config.chunks_per_call != "auto":
        return config.chunks_per_call
    rpm = work.shard.rpm
    calls_per_window = max(1.0, rpm * work.shard.share) if rpm else 1.0
    return max(1, min(AUTO_CHUNKS_PER_CALL, math.ceil(work.chunks / calls_per_window)))


def _seconds(work: Sequence[MissingWork], loads: Sequence[Load], window_s: float) -> float | None:
    """Return the duration of the slowest quota pool; None if a pool has neither `rpm` nor `tpm`."""
    pools: dict[str, tuple[Shard, Load]] = {}
    for one, load in zip(work, loads, strict=True):
        shard, earlier = pools.get(one.shard.pool, (one.shard, Load()))
        pools[one.shard.pool] = shard, earlier + load
    durations = [_pool_seconds(shard, load, window_s) for shard, load in pools.values()]
    known = [duration for duration in durations if duration is not None]
    return round(max(known, default=0.0), 1) if len(known) == len(durations) else None


def _pool_seconds(quota: Shard, load: Load, window_s: float) -> float | None:
    windows = [
        amount / limit for amount, limit in ((load.calls, quota.rpm), (load.tokens_in, quota.tpm)) if limit is not None
    ]
    if not windows:
        return None
    further_days = math.ceil(load.calls / quota.rpd) - 1 if quota.rpd else 0
    return max(windows) * window_s + further_days * DAY_S


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} hours"
