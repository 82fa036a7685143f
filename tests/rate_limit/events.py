"""Short constructors of events for the tests: one shard with key k1 in pool p unless said otherwise."""

from __future__ import annotations

from insurance_rag.rate_limit.events import CallAnswered, CallSent, ShardStarted


def started(
    shard: int = 1, *, at: float = 0.0, key: str = "k1", share: float = 1.0, **quota: int | None
) -> ShardStarted:
    event = ShardStarted(at=at, shard=shard, key=key, pool="p", share=share, quota_unshared=False)
    return event.model_copy(update=quota)


def sent(call: str, at: float, *, shard: int = 1, key: str = "k1", chars: int = 500) -> CallSent:
    return CallSent(at=at, call=call, shard=shard, key=key, pool="p", chars=chars)


def answered(call: str, at: float, tokens_in: int = 0, tokens_out: int = 1) -> CallAnswered:
    return CallAnswered(at=at, call=call, tokens_in=tokens_in, tokens_out=tokens_out)
