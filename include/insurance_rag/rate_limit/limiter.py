"""One shard's hold on the shared pace: waits for a place in the window and tells what became of each call."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import IncompleteError, PipelineError
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.rate_limit import admission as turn
from insurance_rag.rate_limit.event_log import RateLimitLog
from insurance_rag.rate_limit.quota import Metric, next_midnight
from insurance_rag.rate_limit.state import RateLimitState

PATIENCE_MINUTES = 10  # of the server, without one call that is not refused

#: Checked before every call with the pace as it stands; what it returns stops the shard.
Guard = Callable[[RateLimitState], PipelineError | None]


def window_s(config: GenerationConfig) -> float:
    """Seconds that the server's minute lasts."""
    return config.quota_window_s or float(os.environ.get("GEMINI_QUOTA_WINDOW_S") or 60)


def backoff_s(attempt: int, window: float = 60.0) -> float:
    """The wait before retry `attempt` (0, 1 ...) where the server names none: SPEC section 4, in the server's time."""
    return min(2 * 2 ** min(attempt, 10) * 2 + random.uniform(1, 3), 30) * window / 60


def retry_wait_s(attempt: int, window: float = 60.0) -> float:
    """The wait after a passing fault: about 1, 2, 4, 8, 16 s in the server's time. Shorter than a 429's, for most
    dropped connections and 503s are gone at the second try."""
    return min(2**attempt, 30) * random.uniform(0.75, 1.25) * window / 60


class Limiter:
    """`call = await limiter.slot(chars)` before a request; then one of answered, refused, fault ... with that call."""

    def __init__(
        self,
        path: Path,
        shard: Shard,
        key: ApiKey,
        config: GenerationConfig,
        guard: Guard = lambda pace: None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self.window = window_s(config)
        pace = RateLimitState(self.window, config.request_gap_s, config.timeout_s, config.max_in_flight)
        self._log = RateLimitLog(path, pace)
        self._shard, self._clock, self._sleep, self._guard = shard, clock, sleep, guard
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._ids = (f"{shard.shard}-{os.getpid()}-{n}" for n in itertools.count(1))
        self._refusals = 0
        self._refused_since: float | None = None
        self.stopped: PipelineError | None = None
        quota = {"rpm": key.rpm, "tpm": key.tpm, "rpd": key.rpd, "own": key.project is None}
        who = {"shard": shard.shard, "key": key.id, "pool": key.pool, "share": shard.share}
        with self._log.locked():
            self._log.write({"e": "open", "t": clock(), **who, **quota})

    def close(self) -> None:
        self._log.close()

    @property
    def pace(self) -> RateLimitState:
        """With what the other workers have told until now."""
        with self._log.locked() as pace:
            return pace

    async def slot(self, chars: int, again: bool = False, repair: bool = False) -> str:
        """Wait until a call of `chars` characters may go out; returns the call's id. Raises what stops the shard.

        The books count a call that is made `again`, and one that is to `repair`.
        """
        async with self._turn:  # one at a time, first come first served
            while True:
                self._changed.clear()
                call, wait = self._take(chars, again=again, repair=repair)
                if call:
                    return call
                await self._pause(wait)

    def _take(self, chars: int, **facts: bool) -> tuple[str | None, float]:
        shard = self._shard
        with self._log.locked() as pace:
            now = self._clock()
            ask = turn.SendRequest(shard.shard, shard.key_id, shard.pool, shard.share, chars)
            self.stopped = self.stopped or turn.stop(pace, ask, now) or self._guard(pace) or self._hopeless(now)
            if self.stopped:
                raise self.stopped
            if (wait := turn.wait(pace, ask, now)) > 0:
                return None, wait
            call = next(self._ids)
            sent = {"id": call, "shard": shard.shard, "key": shard.key_id, "pool": shard.pool}
            self._log.write({"e": "sent", "t": now, **sent, "chars": chars, **facts})
            return call, 0.0

    def _hopeless(self, now: float) -> PipelineError | None:
        minutes = (now - self._refused_since) / self.window if self._refused_since else 0.0
        if minutes <= PATIENCE_MINUTES:
            return None
        return IncompleteError(
            f"every call on key {self._shard.key_id} has been refused for {minutes:.0f} minutes although they keep to "
            "the quota; others may be using the project: the same command resumes"
        )

    async def _pause(self, wait: float) -> None:
        """Until the wait is over, an own answer arrives, or it is time to see what the other workers learnt."""
        look = min(wait, self.window / 60)
        sleeping = asyncio.ensure_future(self._sleep(look))
        waking = asyncio.ensure_future(self._changed.wait())
        await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        for task in (sleeping, waking):
            task.cancel()

    def answered(self, call: str, tokens_in: int, tokens_out: int) -> None:
        self._refusals, self._refused_since = 0, None
        self._tell("ok", call, **{"in": tokens_in, "out": tokens_out})

    def refused(self, call: str, metric: Metric, limit: int | None, retry_after_s: float | None) -> None:
        """A minute's quota. Where the server names no wait, the schedule's."""
        wait = backoff_s(self._refusals, self.window) if retry_after_s is None else retry_after_s
        self._refusals += 1
        self._refused_since = self._refused_since or self._clock()
        self._tell("refused", call, metric=metric, limit=limit, wait=wait)

    def day_over(self, call: str) -> None:
        self._tell("day", call, until=next_midnight(self._clock()))

    def dead(self, call: str, why: str, whole_project: bool = False) -> None:
        self._tell("dead", call, why=why, pool=whole_project)

    def fault(self, call: str, why: str, tokens_in: int = 0, tokens_out: int = 0) -> None:
        self._tell("fault", call, why=why, **{"in": tokens_in, "out": tokens_out})

    def batch_answered(self, tokens_in: int, tokens_out: int) -> None:
        """Batch mode takes nothing of the minute's quota; only the books know of it."""
        facts = {"shard": self._shard.shard, "in": tokens_in, "out": tokens_out}
        with self._log.locked():
            self._log.write({"e": "batch", "t": self._clock(), **facts})

    def _tell(self, kind: str, call: str, **facts: Any) -> None:
        with self._log.locked():
            self._log.write({"e": kind, "t": self._clock(), "id": call, **facts})
        self._changed.set()
