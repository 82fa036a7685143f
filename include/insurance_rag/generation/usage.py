"""The books: what a run has asked, got and paid, by shard, by key and in all. The pace log keeps them over restarts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from insurance_rag.config import GenerationConfig, Price
from insurance_rag.core.errors import BudgetExceededError, PipelineError
from insurance_rag.core.files import write_json
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.plan import Plan
from insurance_rag.rate_limit.state import RateLimitState

FIGURES = ("calls", "answers", "tokens_in", "tokens_out", "requests_429", "retries", "faults")


def cost_usd(counts: Counter[str], config: GenerationConfig) -> float:
    """By the price table; a model that is not in it is free. Batch tokens are discounted."""
    price = config.prices.get(config.model)
    if price is None:
        return 0.0
    full, batch = _price(counts, price), _price(counts, price, "batch_")
    return full + batch * config.batch_discount


def _price(counts: Counter[str], price: Price, kind: str = "") -> float:
    return (counts[f"{kind}tokens_in"] * price.input + counts[f"{kind}tokens_out"] * price.output) / 1e6


def summarize_usage(counts: Counter[str], config: GenerationConfig) -> dict[str, Any]:
    """`mend_*` are the part of it that asked again for faulty pairs."""
    price = config.prices.get(config.model)
    batch = {"tokens_in": counts["batch_tokens_in"], "tokens_out": counts["batch_tokens_out"]}
    return {
        **{name: counts[name] + batch.get(name, 0) for name in FIGURES},
        "blocked": counts["BlockedAnswerError"] + counts["InvalidRequestError"],
        "cost_usd": round(cost_usd(counts, config), 6),
        "repair_calls": counts["repair_calls"],
        "repair_cost_usd": round(_price(counts, price, "repair_"), 6) if price else 0.0,
    }


def summarize_shard_usage(pace: RateLimitState, shard: int, config: GenerationConfig) -> dict[str, Any]:
    return summarize_usage(pace.books.get(shard, Counter()), config)


def write_usage(run: RunFolder, plan: Plan, pace: RateLimitState, config: GenerationConfig) -> dict[str, Any]:
    """RUN/parts/usage.json: {"total": {...}, "keys": {id: {...}}, "model", "calls_saved"}; returns the total."""
    keys: dict[str, Counter[str]] = {}
    for shard, counts in pace.books.items():
        keys.setdefault(pace.key_of[shard], Counter()).update(counts)
    total = summarize_usage(sum(keys.values(), Counter()), config)
    by_key = {name: summarize_usage(counts, config) for name, counts in sorted(keys.items())}
    saved = plan.refresh.calls_saved if plan.refresh else 0
    write_json(run.usage, {"model": config.model, "total": total, "keys": by_key, "calls_saved": saved})
    return total


def budget_guard(config: GenerationConfig) -> Callable[[RateLimitState], PipelineError | None]:
    """Stops before a call when the run, all its shards together, has spent its budget."""

    def guard(pace: RateLimitState) -> PipelineError | None:
        if config.budget_usd is None:
            return None
        spent = cost_usd(sum(pace.books.values(), Counter()), config)
        if spent < config.budget_usd:
            return None
        return BudgetExceededError(f"${spent:.4f} of ${config.budget_usd:.4f} are spent; raise the budget, then resume")

    return guard
