"""The rate limiter for one shard. It waits until a call may be sent, and records how each call ended."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import IncompleteError, InvalidInputError, LogChangedError, PipelineError
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.rate_limit.admission import SendRequest, blocking_error, delay_before_send
from insurance_rag.rate_limit.backoff import quota_window_s, rate_limit_wait_s
from insurance_rag.rate_limit.clock import steady_clock
from insurance_rag.rate_limit.event_log import RateLimitLog
from insurance_rag.rate_limit.events import (
    BatchAnswered,
    CallAnswered,
    CallEnded,
    CallFailed,
    CallRateLimited,
    CallSent,
    DailyQuotaExhausted,
    KeyRejected,
    ShardStarted,
)
from insurance_rag.rate_limit.quota import Metric, next_midnight
from insurance_rag.rate_limit.state import RateLimitState
from insurance_rag.rate_limit.timeouts import call_timeout_s

MAX_CONFLICT_DELAY_S = 0.05  # longest wait before a decision that another machine interrupted is made again
MAX_REFUSED_WINDOWS = 10  # stop the shard after more quota windows than this in which every call was refused


@dataclass(frozen=True)
class AnswerCounts:
    """What an answer cost and brought; see `events.CallAnswered`."""

    tokens_in: int
    tokens_out: int
    chunks: int = 1
    accepted: int = 0
    model: str = ""
    asked_model: str = ""


@dataclass(frozen=True)
class CallSize:
    """What a worker wants to ask in its next call."""

    chars: int
    """Number of characters in the request."""
    chunks: int = 1
    pairs: int = 0
    """Number of pairs that the call asks for."""
    is_retry: bool = False
    is_repair: bool = False


#: A function that is called with the state and the next call before each teacher call. If it returns an error, the
#: shard stops.
StopCheck = Callable[[RateLimitState, CallSize], PipelineError | None]


class NextCall(Protocol):
    """The next call of a worker. It may change while the worker waits for the quota."""

    def size(self, state: RateLimitState, now: float) -> CallSize | None:
        """Return the size of the call at time `now`, or None if there is currently nothing to ask."""
        ...

    def claim(self, size: CallSize) -> bool:
        """Reserve the work for this call. Return False if another worker has taken it meanwhile."""
        ...


class Limiter:
    """Rate limiter for one shard.

    Before a request, get a call id with `call = await limiter.acquire(next_call)`. After the request, report its
    outcome with `answered`, `rate_limited`, `daily_quota_exhausted`, `key_rejected` or `failed`. All methods raise
    IncompleteError if the shared log cannot be written.
    """

    def __init__(
        self,
        path: Path,
        shard: Shard,
        key: ApiKey,
        config: GenerationConfig,
        stop_check: StopCheck = lambda state, request: None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Open the event log at `path`, which all shards in the run share, and record that this shard has started.

        The quota pool is the one of `key`. `clock` returns Unix timestamps; the default is a steady clock. Raises
        InvalidInputError if `key` is not the key of the shard.
        """
        if key.id != shard.key_id:
            raise InvalidInputError(
                f"{shard.label} was given the key {key.id!r}; use the key {shard.key_id!r}, or plan again with the "
                "same --out (answers are kept)"
            )
        self.window_s, self._timeout_s, self._pool = quota_window_s(config), config.timeout_s, key.pool
        state = RateLimitState(self.window_s, config.request_gap_s, config.max_in_flight)
        self._clock = clock or steady_clock()
        self._log = RateLimitLog(path, state, self._clock)
        self._shard, self._sleep, self._stop_check = shard, sleep, stop_check
        self._queue = asyncio.Lock()
        self._call_ended = asyncio.Event()
        self._call_ids = (f"{shard.shard}-{os.getpid()}-{n}" for n in itertools.count(1))
        self._refusals = 0  # since the last answer
        self._refused_windows, self._refused_window_at = 0, -math.inf
        self.stopped: PipelineError | None = None
        """The error that stopped the shard; None while calls are allowed."""
        self._claimed: CallSize | None = None
        """A call whose chunks are claimed, but that waits again because another machine sent a call meanwhile."""
        self._log.transact(
            lambda _: ShardStarted(
                at=self._clock(),
                shard=shard.shard,
                key=key.id,
                pool=self._pool,
                share=shard.share,
                quota_unshared=key.project is None,
                rpm=key.rpm,
                tpm=key.tpm,
                rpd=key.rpd,
            )
        )

    def close(self) -> None:
        """Close the event log."""
        self._log.close()

    @property
    def state(self) -> RateLimitState:
        """The current state, including the newest events from all workers."""
        with self._log.locked() as state:
            return state

    def quota_use(self, state: RateLimitState) -> dict[str, float]:
        """Return which fraction of each known limit is used in the key's quota pool: requests, tokens and day."""
        now = self._clock()
        pool, used = state.pool(self._pool), dict[str, float]()
        metrics: tuple[Metric, ...] = ("requests", "tokens")
        for metric in metrics:
            if limit := state.known_limit(pool, metric):
                used[metric] = pool.used(metric, now - self.window_s) / limit
        if pool.rpd:
            used["day"] = pool.calls_today / pool.rpd
        return used

    async def acquire(self, next_call: NextCall) -> str | None:
        """Wait until this shard may make its next call, then return a new id for the call.

        Returns None as soon as there is nothing to ask. If the shard must stop, raises a copy of the error in
        `stopped`, e.g. KeyRejectedError or QuotaExhaustedError.
        """
        async with self._queue:  # the caller that has waited longest goes first
            while True:
                self._call_ended.clear()
                size, call, delay_s = self._try_acquire(next_call)
                if call or size is None:
                    return call
                if delay_s > 0:
                    await self._pause(delay_s)

    def answered(self, call: str, answer: AnswerCounts) -> None:
        """Record that the call was answered."""
        self._refusals = self._refused_windows = 0
        self._end(CallAnswered(at=self._clock(), call=call, **vars(answer)))

    def rate_limited(self, call: str, metric: Metric, limit: int | None, retry_after_s: float | None) -> None:
        """Record that a per-minute quota refused the call. If `retry_after_s` is None, the wait is computed."""
        wait_s = rate_limit_wait_s(self._refusals, self.window_s) if retry_after_s is None else retry_after_s
        now = self._clock()
        self._refusals += 1
        if now - self._refused_window_at >= self.window_s:
            self._refused_windows, self._refused_window_at = self._refused_windows + 1, now
        self._end(CallRateLimited(at=now, call=call, metric=metric, limit=limit, wait_s=wait_s))

    def daily_quota_exhausted(self, call: str) -> None:
        """Record that the call was refused because a daily quota is used up."""
        now = self._clock()
        self._end(DailyQuotaExhausted(at=now, call=call, until=next_midnight(now)))

    def key_rejected(self, call: str, reason: str, *, whole_project: bool = False) -> None:
        """Record that the key, or its whole project, is rejected permanently."""
        self._end(KeyRejected(at=self._clock(), call=call, reason=reason, whole_project=whole_project))

    def failed(self, call: str, error: str, tokens: tuple[int, int] = (0, 0), *, unreadable: bool = False) -> None:
        """Record that the call ended with another error. `error` is the name of the error class.

        `tokens` are the input and output tokens. `unreadable` says that an answer came that cannot be used.
        """
        tokens_in, tokens_out = tokens
        self._end(
            CallFailed(
                at=self._clock(),
                call=call,
                error=error,
                unreadable=unreadable,
                tokens_in=tokens_in,
                tokens_out=tokens_out,
            )
        )

    def batch_answered(self, entry: str, pairs: int, answer: AnswerCounts) -> None:
        """Record an answer from batch mode, which uses no per-minute quota. `pairs` is the number of pairs asked.

        `entry` is the id of the answer. An answer that was recorded before, even by another shard, is ignored.
        """
        shard = self._shard

        def decide(state: RateLimitState) -> BatchAnswered | None:
            if entry in state.batch_entries:
                return None
            return BatchAnswered(
                at=self._clock(), shard=shard.shard, key=shard.key_id, entry=entry, pairs=pairs, **vars(answer)
            )

        self._log.transact(decide)

    def _try_acquire(self, next_call: NextCall) -> tuple[CallSize | None, str | None, float]:
        """Do the same as `_try_acquire_once`. If another machine writes meanwhile, decide again after a moment."""
        try:
            return self._try_acquire_once(next_call)
        except LogChangedError:
            return self._claimed or CallSize(chars=0), None, random.uniform(0.001, MAX_CONFLICT_DELAY_S)

    def _try_acquire_once(self, next_call: NextCall) -> tuple[CallSize | None, str | None, float]:
        """Return (size of the next call, its id if it may be sent now, seconds to wait if not)."""
        shard = self._shard
        with self._log.locked() as state:
            now = self._clock()
            size = self._claimed or next_call.size(state, now)
            request = SendRequest(shard.shard, shard.key_id, self._pool, shard.share, size.chars if size else 0)
            self.stopped = (
                self.stopped
                or blocking_error(state, request, now)
                or (self._stop_check(state, size) or self._error_if_always_refused() if size else None)
            )
            if self.stopped:
                raise self.stopped.fresh()  # several coroutines raise this error; see PipelineError.fresh
            if size is None:
                return None, None, 0.0
            if (delay_s := delay_before_send(state, request, now)) > 0:
                return size, None, delay_s
            if self._claimed is None and not next_call.claim(size):
                return size, None, 0.0
            self._claimed = size
            call = next(self._call_ids)
            timeout_s = call_timeout_s(self._timeout_s, size.chunks)
            sent = CallSent(
                at=now,
                call=call,
                shard=shard.shard,
                key=shard.key_id,
                pool=self._pool,
                timeout_s=timeout_s,
                **vars(size),
            )
            self._log.write(sent)
            self._claimed = None
            return size, call, 0.0

    def _error_if_always_refused(self) -> PipelineError | None:
        """Return an error if every call was refused in many quota windows. Windows without calls do not count."""
        if self._refused_windows <= MAX_REFUSED_WINDOWS:
            return None
        return IncompleteError(
            f"every call on key {self._shard.key_id} was refused in {self._refused_windows} quota windows of "
            f"{self.window_s:g} s, although the calls keep to the known quota; stop other programs that use the "
            "project, then run the same command again"
        )

    async def _pause(self, delay_s: float) -> None:
        """Wait for `delay_s` seconds, or until one of this shard's calls ends.

        The wait is limited to 1/60 of a window, so that events from other workers are read in time.
        """
        sleeping = asyncio.ensure_future(self._sleep(min(delay_s, self.window_s / 60)))
        waking = asyncio.ensure_future(self._call_ended.wait())
        await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sleeping, waking):
            task.cancel()

    def _end(self, event: CallEnded) -> None:
        self._log.transact(lambda _: event)
        self._call_ended.set()
