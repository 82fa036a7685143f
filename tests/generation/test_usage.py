"""Usage and cost of a run, and the budget, computed from the rate limiter's events."""

from __future__ import annotations

import pytest

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import BudgetExceededError
from insurance_rag.generation.usage import budget_guard, expected_cost_usd, summarize_run_usage
from insurance_rag.llm.catalog import price_of
from insurance_rag.rate_limit.events import BatchAnswered, CallAnswered, CallSent, ShardStarted
from insurance_rag.rate_limit.limiter import CallSize
from insurance_rag.rate_limit.state import RateLimitState

MODEL = GenerationConfig().model
NEXT = CallSize(chars=10_000, pairs=8)


def sent(call: str, *, repair: bool = False) -> CallSent:
    return CallSent(at=0.0, call=call, shard=1, key="k1", pool="p", chars=10_000, chunks=2, pairs=8, is_repair=repair)


def answered(call: str, *, accepted: int = 6, model: str = MODEL, tokens_out: int = 2_000) -> CallAnswered:
    return CallAnswered(
        at=1.0, call=call, tokens_in=8_000, tokens_out=tokens_out, chunks=2, accepted=accepted, model=model,
        asked_model=MODEL,
    )  # fmt: skip


@pytest.fixture
def state() -> RateLimitState:
    state = RateLimitState()
    state.apply(ShardStarted(at=0.0, shard=1, key="k1", pool="p", share=1.0, quota_unshared=False))
    return state


def test_the_cost_per_accepted_pair_includes_repairs(state: RateLimitState) -> None:
    for event in (sent("a"), answered("a"), sent("b", repair=True), answered("b", accepted=2)):
        state.apply(event)
    usage = summarize_run_usage(state, GenerationConfig())
    total = usage.total
    cost = 2 * (8_000 * 0.3 + 2_000 * 2.5) / 1e6
    assert total.cost_usd == pytest.approx(cost) and total.repair_cost_usd == pytest.approx(cost / 2)
    assert (total.chunks_answered, total.pairs_accepted, total.repair_pairs_accepted) == (2, 8, 2)
    assert usage.cost_per_accepted_pair_usd == pytest.approx(cost / 8)
    assert usage.keys["k1"] == total


def test_answers_by_another_model_are_counted_with_its_name(state: RateLimitState) -> None:
    for event in (sent("a"), answered("a"), sent("b"), answered("b", model="gemini-3.8-flash")):
        state.apply(event)
    usage = summarize_run_usage(state, GenerationConfig())
    assert usage.models == {MODEL: 1, "gemini-3.8-flash": 1} and usage.total.other_model_answers == 1


def test_batch_mode_is_billed_at_the_fraction_of_the_catalog(state: RateLimitState) -> None:
    state.apply(BatchAnswered(at=0.0, shard=1, key="k1", entry="a", tokens_in=1_000_000, tokens_out=0, accepted=3))
    assert summarize_run_usage(state, GenerationConfig()).total.cost_usd == pytest.approx(0.15)
    full = summarize_run_usage(state, GenerationConfig(batch_discount=1.0))
    assert full.total.cost_usd == pytest.approx(0.3)
    unknown = summarize_run_usage(state, GenerationConfig(model="gemini-y"))
    assert unknown.total.cost_usd == 0 and unknown.cost_per_accepted_pair_usd is None


def test_the_budget_holds_for_the_calls_in_flight_and_the_next_one(state: RateLimitState) -> None:
    price = price_of(GenerationConfig())
    assert price
    for event in (sent("a"), answered("a"), sent("b"), sent("c")):
        state.apply(event)
    spent = (8_000 * 0.3 + 2_000 * 2.5) / 1e6
    each = expected_cost_usd(state, NEXT, price)
    assert each == pytest.approx((8_000 * 0.3 + 8 * state.tokens_out_per_pair * 1.3 * 2.5) / 1e6)
    enough = GenerationConfig(budget_usd=spent + 3 * each + 1e-9)
    assert budget_guard(enough)(state, NEXT) is None
    error = budget_guard(enough.model_copy(update={"budget_usd": spent + 2.9 * each}))(state, NEXT)
    assert isinstance(error, BudgetExceededError)
    assert "2 calls in flight" in str(error) and "raise budget_usd" in str(error)
    assert budget_guard(GenerationConfig())(state, NEXT) is None
