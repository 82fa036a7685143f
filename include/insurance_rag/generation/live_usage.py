"""Reports what the worker of a shard uses while it runs, for monitoring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from insurance_rag.config import GenerationConfig
from insurance_rag.core.records import Shard
from insurance_rag.core.records.usage import Usage
from insurance_rag.generation.usage import summarize_shard_usage
from insurance_rag.rate_limit.limiter import Limiter

REPORT_INTERVAL_S = 1.0
"""Minimum number of seconds between two reports of a worker, except for the last one."""


@dataclass(frozen=True)
class LiveUsage:
    """What a shard's worker has used so far, and what is left to do."""

    key_id: str
    usage: Usage
    """Usage of the shard, including that of earlier processes."""
    waiting: int
    """Number of the shard's chunks without an answer."""
    quota_use: dict[str, float]
    """Kind of quota (`requests`, `tokens` or `day`) -> used fraction, for the limits that are known."""


#: Receives a report before a worker sends its first call, then at most one per second, and one when it ends.
OnUsage = Callable[[LiveUsage], None]


def live_usage(shard: Shard, limiter: Limiter, config: GenerationConfig, waiting: int) -> LiveUsage:
    """Return what the worker of `shard` has used so far."""
    state = limiter.state
    return LiveUsage(
        key_id=shard.key_id,
        usage=summarize_shard_usage(state, shard.shard, config),
        waiting=waiting,
        quota_use=limiter.quota_use(state),
    )
