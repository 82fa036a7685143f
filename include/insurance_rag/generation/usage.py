"""Compute the usage and cost of a run, in total and for each shard and API key.

The counts come from the rate limit log, so they include calls from before a restart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from insurance_rag.config import GenerationConfig, Price
from insurance_rag.core.errors import BudgetExceededError, PipelineError
from insurance_rag.core.files import write_json
from insurance_rag.core.records.usage import RunUsage, Usage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.planning.plan import Plan
from insurance_rag.rate_limit.state import RateLimitState


def cost_usd(counts: Counter[str], config: GenerationConfig) -> float:
    """Return the cost at the configured prices, including the batch mode discount; 0 if the model has no price."""
    price = config.prices.get(config.model)
    if price is None:
        return 0.0
    return _cost(counts, price) + _cost(counts, price, "batch_") * config.batch_discount


def _cost(counts: Counter[str], price: Price, prefix: str = "") -> float:
    return (counts[f"{prefix}tokens_in"] * price.input + counts[f"{prefix}tokens_out"] * price.output) / 1e6


def summarize_usage(counts: Counter[str], config: GenerationConfig) -> Usage:
    """Return the usage and cost for counts from the rate limiter. Tokens used in batch mode are included."""
    price = config.prices.get(config.model)
    return Usage(
        calls=counts["calls"],
        answers=counts["answers"],
        tokens_in=counts["tokens_in"] + counts["batch_tokens_in"],
        tokens_out=counts["tokens_out"] + counts["batch_tokens_out"],
        requests_429=counts["requests_429"],
        retries=counts["retries"],
        faults=counts["faults"],
        blocked=counts["BlockedAnswerError"] + counts["InvalidRequestError"],
        cost_usd=round(cost_usd(counts, config), 6),
        repair_calls=counts["repair_calls"],
        repair_cost_usd=round(_cost(counts, price, "repair_"), 6) if price else 0.0,
    )


def summarize_shard_usage(state: RateLimitState, shard: int, config: GenerationConfig) -> Usage:
    """Return the usage of one shard. All values are 0 if the shard has not made any calls yet."""
    return summarize_usage(state.usage_counts.get(shard, Counter()), config)


def write_usage(run: RunFolder, plan: Plan, state: RateLimitState, config: GenerationConfig) -> Usage:
    """Write the usage of the run to RUN/parts/usage.json and return the total."""
    counts_of_key: dict[str, Counter[str]] = {}
    for shard, counts in state.usage_counts.items():
        counts_of_key.setdefault(state.key_of_shard[shard], Counter()).update(counts)
    usage = RunUsage(
        model=config.model,
        total=summarize_usage(sum(counts_of_key.values(), Counter()), config),
        keys={key_id: summarize_usage(counts, config) for key_id, counts in sorted(counts_of_key.items())},
        calls_saved=plan.refresh.calls_saved if plan.refresh else 0,
    )
    write_json(run.usage, usage.model_dump(mode="json"))
    return usage.total


def budget_guard(config: GenerationConfig) -> Callable[[RateLimitState], PipelineError | None]:
    """Return a check to run before each call. The check returns an error once the whole run has used up the budget."""

    def guard(state: RateLimitState) -> PipelineError | None:
        if config.budget_usd is None:
            return None
        spent = cost_usd(sum(state.usage_counts.values(), Counter()), config)
        if spent < config.budget_usd:
            return None
        return BudgetExceededError(
            f"the budget is used up (${spent:.4f} of ${config.budget_usd:.4f}); raise budget_usd and run the same "
            "command again"
        )

    return guard
