"""The estimate of calls, tokens, cost and duration before a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from insurance_rag.chunks import read_chunks
from insurance_rag.config import GenerationConfig
from insurance_rag.core.files import read_json
from insurance_rag.core.records import ApiKey
from insurance_rag.core.records.generation import AnswerMeta, AnswerRecord, TokenCount
from insurance_rag.core.records.planning import GenerationEstimate
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.estimate import (
    TOKENS_OUT_PER_PAIR,
    describe_estimate,
    estimate_corpus,
    estimate_run,
    write_estimate,
)
from insurance_rag.planning import make_plan, write_plan
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.prompt_spec import PromptSpec

CHUNKS = read_chunks("sample")[:60]


def keys(n: int = 2, **quota: object) -> list[ApiKey]:
    return [ApiKey.model_validate({"id": f"k{i}", "key": f"secret-{i}", **quota}) for i in range(n)]


def estimated(config: GenerationConfig, **quota: int | str) -> GenerationEstimate:
    return estimate_corpus(make_plan(CHUNKS, keys(2, **quota), config), CHUNKS)


def test_one_chunk_per_call_without_repairs() -> None:
    config = GenerationConfig(chunks_per_call=1, repair=False, types=("fact",))
    estimate = estimated(config.model_copy(update={"questions": config.questions.model_copy(
        update={"near_miss_share": 0.0}
    )}), rpm=10)  # fmt: skip
    assert (estimate.chunks, estimate.reused, estimate.calls, estimate.repair_share) == (60, 0, 60, 0)
    assert estimate.tokens_out == 60 * TOKENS_OUT_PER_PAIR
    assert estimate.cost_usd == pytest.approx((estimate.tokens_in * 0.3 + estimate.tokens_out * 2.5) / 1e6, abs=1e-4)
    assert estimate.seconds == 180, "30 calls per key at 10 per minute"


def test_packing_saves_calls_and_input_tokens() -> None:
    single = estimated(GenerationConfig(chunks_per_call=1), rpm=10)
    packed = estimated(GenerationConfig(), rpm=10)
    assert packed.calls == 22, "10 + 1 per key: 30 chunks fit into one minute with 3 chunks per call"
    assert packed.tokens_in < single.tokens_in and packed.tokens_out == single.tokens_out


def test_an_unknown_quota_or_price_leaves_the_duration_or_cost_open() -> None:
    assert estimated(GenerationConfig()).seconds is None
    unknown = estimated(GenerationConfig(model="gemini-z"), rpm=5)
    assert unknown.cost_usd is None and unknown.seconds
    assert "an unknown cost" in describe_estimate(unknown)
    half = estimated(GenerationConfig(batch=True))
    full = estimated(GenerationConfig())
    assert half.cost_usd and full.cost_usd and half.cost_usd == pytest.approx(full.cost_usd / 2, abs=1e-3)


def test_a_daily_quota_adds_days_and_a_shared_quota_adds_calls() -> None:
    config = GenerationConfig(chunks_per_call=1, repair=False)
    assert (estimated(config, rpm=10, rpd=20).seconds or 0) > 86_400
    assert estimated(config, rpm=10, project="p").seconds == 360, "60 calls of one project at 10 per minute"


def test_only_missing_answers_count_and_the_estimate_is_stored(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    config = GenerationConfig()
    plan = write_plan(make_plan(CHUNKS, keys(), config), run, CHUNKS)
    spec = PromptSpec.from_config(config)
    meta = AnswerMeta(teacher="gemini", model=config.model, prompt_version="v", key_id="k1", at="")
    with GenerationJournal(run.journal, 1) as journal:
        for chunk in CHUNKS[:50]:
            record = AnswerRecord(chunk_id=chunk.chunk_id, pairs=[], usage=TokenCount(), meta=meta)
            journal.append(spec.cache_key(chunk), record)
    estimate = write_estimate(run, plan)
    assert (estimate.chunks, estimate.reused) == (10, 50)
    assert GenerationEstimate.model_validate(read_json(run.estimate)) == estimate
    assert describe_estimate(estimate).startswith("10 chunks to request from gemini-3.5-flash-lite (50 more have")
    with GenerationJournal(run.journal, 1) as journal:
        for chunk in CHUNKS[50:]:
            record = AnswerRecord(chunk_id=chunk.chunk_id, pairs=[], usage=TokenCount(), meta=meta)
            journal.append(spec.cache_key(chunk), record)
    done = estimate_run(run, plan)
    assert (done.calls, done.cost_usd) == (0, 0.0)
    assert describe_estimate(done) == "all 60 chunks have an answer already, so nothing is requested"
