"""Compute the usage and cost of a run, in total and for each shard and API key.

The counts come from the rate limit log, so they include calls from before a restart.
"""

from __future__ import annotations

from collections import Counter

from insurance_rag.config import GenerationConfig, Price
from insurance_rag.core.errors import BudgetExceededError, PipelineError
from insurance_rag.core.files import write_json
from insurance_rag.core.records.usage import RunUsage, Usage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.llm.catalog import batch_price_fraction, price_of
from insurance_rag.planning.plan import Plan
from insurance_rag.rate_limit.limiter import CallSize, StopCheck
from insurance_rag.rate_limit.quota import SentCall
from insurance_rag.rate_limit.state import RateLimitState

ANSWER_LENGTH_MARGIN = 1.3
"""Factor on the average answer length, because a budget must also hold for answers that are longer than the average."""
MODEL_COUNTER = "model:"
"""Prefix of the counters of answers by model. The rest of the counter's name is the model."""


def cost_usd(counts: Counter[str], config: GenerationConfig) -> float:
    """Return the cost at the model's prices, including the batch mode discount; 0 if the model has no price."""
    price = price_of(config)
    if price is None:
        return 0.0
    return _cost(counts, price) + _cost(counts, price, "batch_") * batch_price_fraction(config)


def _cost(counts: Counter[str], price: Price, prefix: str = "") -> float:
    return (counts[f"{prefix}tokens_in"] * price.input + counts[f"{prefix}tokens_out"] * price.output) / 1e6


def summarize_usage(counts: Counter[str], config: GenerationConfig) -> Usage:
    """Return the usage and cost for counts from the rate limiter. Tokens used in batch mode are included."""
    price = price_of(config)
    return Usage(
        calls=counts["calls"],
        answers=counts["answers"],
        chunks_answered=counts["chunks"],
        pairs_accepted=counts["pairs_accepted"] + counts["repair_pairs_accepted"],
        tokens_in=counts["tokens_in"] + counts["batch_tokens_in"],
        tokens_out=counts["tokens_out"] + counts["batch_tokens_out"],
        requests_429=counts["requests_429"],
        retries=counts["retries"],
        faults=counts["faults"],
        blocked=counts["BlockedAnswerError"] + counts["InvalidRequestError"],
        cost_usd=round(cost_usd(counts, config), 6),
        repair_calls=counts["repair_calls"],
        repair_pairs_accepted=counts["repair_pairs_accepted"],
        repair_cost_usd=round(_cost(counts, price, "repair_"), 6) if price else 0.0,
        other_model_answers=counts["other_model"],
    )


def summarize_shard_usage(state: RateLimitState, shard: int, config: GenerationConfig) -> Usage:
    """Return the usage of one shard. All values are 0 if the shard has not made any calls yet."""
    return summarize_usage(state.usage_counts.get(shard, Counter()), config)


def summarize_run_usage(state: RateLimitState, config: GenerationConfig, calls_saved: int = 0) -> RunUsage:
    """Return the usage of a run, in total and per API key."""
    counts_of_key: dict[str, Counter[str]] = {}
    for shard, counts in state.usage_counts.items():
        counts_of_key.setdefault(state.key_of_shard[shard], Counter()).update(counts)
    all_counts = _total(state)
    total = summarize_usage(all_counts, config)
    has_cost = total.pairs_accepted and price_of(config)
    return RunUsage(
        model=config.model,
        total=total,
        keys={key_id: summarize_usage(counts, config) for key_id, counts in sorted(counts_of_key.items())},
        models=_answers_by_model(all_counts),
        cost_per_accepted_pair_usd=round(total.cost_usd / total.pairs_accepted, 8) if has_cost else None,
        calls_saved=calls_saved,
    )


def write_usage(run: RunFolder, plan: Plan, state: RateLimitState, config: GenerationConfig) -> Usage:
    """Write the usage of the run to RUN/parts/usage.json and return the total."""
    usage = summarize_run_usage(state, config, plan.refresh.calls_saved if plan.refresh else 0)
    write_json(run.usage, usage.model_dump(mode="json"))
    return usage.total


def budget_guard(config: GenerationConfig) -> StopCheck:
    """Return a check to run before each call. It returns an error if the call might exceed the budget of the run.

    The check adds up the cost so far, the expected cost of all calls in flight, and the expected cost of the next call.
    A call of a killed worker stays in flight, because its answer may have been billed.
    """
    price = price_of(config) if config.budget_usd is not None else None

    def guard(state: RateLimitState, size: CallSize) -> PipelineError | None:
        if config.budget_usd is None or price is None:
            return None
        spent = cost_usd(_total(state), config)
        in_flight = sum(expected_cost_usd(state, call, price) for call in state.in_flight.values())
        following = expected_cost_usd(state, size, price)
        if spent + in_flight + following <= config.budget_usd:
            return None
        return BudgetExceededError(
            f"the budget is used up (${spent:.4f} of ${config.budget_usd:.4f} spent, up to ${in_flight:.4f} more for "
            f"{len(state.in_flight)} calls in flight, and the next call costs up to ${following:.4f}); raise "
            "budget_usd and run the same command again"
        )

    return guard


def expected_cost_usd(state: RateLimitState, call: CallSize | SentCall, price: Price) -> float:
    """Return the expected cost of a call from its size, and from the average sizes of earlier requests and answers."""
    tokens_in = call.chars * state.tokens_per_char
    tokens_out = call.pairs * state.tokens_out_per_pair * ANSWER_LENGTH_MARGIN
    return (tokens_in * price.input + tokens_out * price.output) / 1e6


def _total(state: RateLimitState) -> Counter[str]:
    return sum(state.usage_counts.values(), Counter())


def _answers_by_model(counts: Counter[str]) -> dict[str, int]:
    named = {name.removeprefix(MODEL_COUNTER): n for name, n in counts.items() if name.startswith(MODEL_COUNTER)}
    return dict(sorted(named.items()))
