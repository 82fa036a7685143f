"""Events of the rate limiter: what the workers of a run tell each other about their calls.

Times (`at`, `until`) are seconds of `time.time()`. Every call has an id (`call`) that is unique within the run.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from insurance_rag.core.records import Record
from insurance_rag.rate_limit.quota import Metric


class ShardStarted(Record):
    """A worker started on a shard, or started again."""

    event: Literal["shard_started"] = "shard_started"
    at: float
    shard: int
    key: str = Field(description="id of the API key")
    pool: str = Field(description="quota pool of the key")
    share: float = Field(description="the shard's share of the quota of its pool")
    quota_unshared: bool = Field(description="the key has no configured project; its quota counts as its own")
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None


class CallSent(Record):
    """A request was admitted and goes out now."""

    event: Literal["sent"] = "sent"
    at: float
    call: str
    shard: int
    key: str
    pool: str
    chars: int = Field(description="characters of the request")
    is_retry: bool = False
    is_repair: bool = False


class CallAnswered(Record):
    """The call ended with a usable answer."""

    event: Literal["answered"] = "answered"
    at: float
    call: str
    tokens_in: int
    tokens_out: int


class CallRateLimited(Record):
    """The call was refused with status 429 for a quota per minute."""

    event: Literal["rate_limited"] = "rate_limited"
    at: float
    call: str
    metric: Metric
    limit: int | None = Field(description="the quota; None if the server did not report it")
    wait_s: float


class DailyQuotaExhausted(Record):
    """The call was refused with status 429 for a quota per day."""

    event: Literal["daily_quota_exhausted"] = "daily_quota_exhausted"
    at: float
    call: str
    until: float


class KeyRejected(Record):
    """The call showed that the key, or its whole project, is rejected permanently."""

    event: Literal["key_rejected"] = "key_rejected"
    at: float
    call: str
    reason: str
    whole_project: bool = False


class CallFailed(Record):
    """The call ended with any other error."""

    event: Literal["failed"] = "failed"
    at: float
    call: str
    error: str = Field(description="name of the error class")
    tokens_in: int = 0
    tokens_out: int = 0


class BatchAnswered(Record):
    """Batch mode returned an answer. It uses no quota per minute, but its tokens are paid for."""

    event: Literal["batch_answered"] = "batch_answered"
    at: float
    shard: int
    key: str
    tokens_in: int
    tokens_out: int


CallEnded = CallAnswered | CallRateLimited | DailyQuotaExhausted | KeyRejected | CallFailed
Event = ShardStarted | CallSent | CallEnded | BatchAnswered

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def parse_event(data: bytes) -> Event:
    """Parse the JSON object of one event. Raises pydantic's ValidationError if it is not a known event."""
    return _EVENT.validate_json(data)
