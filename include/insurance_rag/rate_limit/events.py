"""Rate limiter events, through which the workers in a run share information about their calls.

Times (`at`, `until`) are Unix timestamps in seconds. `call` is the id of a call, which is unique within the run.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from insurance_rag.core.records import Record
from insurance_rag.rate_limit.quota import Metric


class ShardStarted(Record):
    """A worker started or resumed a shard."""

    event: Literal["shard_started"] = "shard_started"
    at: float
    shard: int
    key: str = Field(description="id of the API key")
    pool: str = Field(description="quota pool of the key")
    share: float = Field(description="fraction of the pool's quota that is meant for this shard")
    quota_unshared: bool = Field(description="true if the key has no project; its quota is assumed to be separate")
    rpm: int | None = None
    tpm: int | None = None
    rpd: int | None = None


class CallSent(Record):
    """A request was admitted and is being sent."""

    event: Literal["sent"] = "sent"
    at: float
    call: str
    shard: int
    key: str
    pool: str
    chars: int = Field(description="number of characters in the request")
    chunks: int = Field(default=1, description="number of chunks that the request asks about")
    pairs: int = Field(default=0, description="number of pairs that the request asks for")
    timeout_s: float = Field(default=60.0, description="number of seconds after which the worker gives up the call")
    is_retry: bool = False
    is_repair: bool = False


class CallAnswered(Record):
    """The call ended with a usable answer for at least one chunk."""

    event: Literal["answered"] = "answered"
    at: float
    call: str
    tokens_in: int
    tokens_out: int
    chunks: int = Field(default=1, description="number of chunks that got a usable answer")
    accepted: int = Field(default=0, description="number of pairs that the pair check found no fault in")
    model: str = Field(default="", description="model that answered, as reported by the server; empty if not reported")
    asked_model: str = Field(default="", description="model that was asked")


class CallRateLimited(Record):
    """The call was refused with status 429 because of a per-minute quota."""

    event: Literal["rate_limited"] = "rate_limited"
    at: float
    call: str
    metric: Metric
    limit: int | None = Field(description="quota that the server reported; None if it reported none")
    wait_s: float


class DailyQuotaExhausted(Record):
    """The call was refused with status 429 because of a daily quota."""

    event: Literal["daily_quota_exhausted"] = "daily_quota_exhausted"
    at: float
    call: str
    until: float


class KeyRejected(Record):
    """The server rejected the key, or its whole project, permanently."""

    event: Literal["key_rejected"] = "key_rejected"
    at: float
    call: str
    reason: str
    whole_project: bool = False


class CallFailed(Record):
    """The call ended with an error that none of the other events covers."""

    event: Literal["failed"] = "failed"
    at: float
    call: str
    error: str = Field(description="name of the error class")
    unreadable: bool = Field(default=False, description="whether an answer came that cannot be read")
    tokens_in: int = 0
    tokens_out: int = 0


class BatchAnswered(Record):
    """Batch mode returned an answer. The answer uses no per-minute quota, but its tokens are billed."""

    event: Literal["batch_answered"] = "batch_answered"
    at: float
    shard: int
    key: str
    entry: str = Field(description="id of the answer, which may be fetched several times")
    tokens_in: int
    tokens_out: int
    chunks: int = 1
    pairs: int = 0
    accepted: int = 0
    model: str = ""
    asked_model: str = ""


CallEnded = CallAnswered | CallRateLimited | DailyQuotaExhausted | KeyRejected | CallFailed
Event = ShardStarted | CallSent | CallEnded | BatchAnswered

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def parse_event(data: bytes) -> Event:
    """Parse one event from JSON. Raises pydantic's ValidationError if the event is unknown or invalid."""
    return _EVENT.validate_json(data)
