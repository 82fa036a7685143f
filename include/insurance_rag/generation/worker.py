"""The worker for one shard. It requests pairs for chunks without an answer, then replacements for faulty pairs.

A worker processes its own shard first and then helps other shards (see `work_pool`). Each answer is synced to disk
before its chunks count as done, so killing the process loses at most the calls in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable

from insurance_rag.core.errors import (
    BudgetExceededError,
    IncompleteError,
    KeyRejectedError,
    PipelineError,
    QuotaExhaustedError,
    RepairsPendingError,
)
from insurance_rag.core.records import ProgressState
from insurance_rag.generation.live_usage import REPORT_INTERVAL_S, live_usage
from insurance_rag.generation.next_call import Call
from insurance_rag.generation.outcomes import Outcomes
from insurance_rag.generation.parts import write_part
from insurance_rag.generation.shard_work import ShardWork
from insurance_rag.generation.usage import summarize_shard_usage

OnUpdate = Callable[[ProgressState], None]

IDLE_POLL = 1 / 120
"""Time between two looks at the work of other workers, as a fraction of the quota window."""
MAX_IDLE_POLL_S = 1.0


class Worker:
    """Sends the calls of one shard. The rate limiter decides when a call is sent and how many are in flight."""

    def __init__(self, work: ShardWork) -> None:
        self._work = work
        self._outcomes = Outcomes(work)
        self._own_keys = {item.cache_key for item in work.items}
        self._missing = Counter(item.cache_key for item in work.items if item.cache_key not in work.journal)
        self._in_flight = 0
        self._call_ended = asyncio.Event()
        self._done_at_last_save = work.progress.done
        self._saving = asyncio.Lock()
        self._reported_at = -math.inf

    async def run(self) -> None:
        """Request missing first answers, then repairs, and save the part file.

        An error that stops the shard is not raised, but stored in `Limiter.stopped`, so that no more calls are sent.
        """
        work = self._work
        self._report_usage(last=False)
        await asyncio.sleep(0)  # let all shards in this process start before the first call is sent
        async with asyncio.TaskGroup() as group:
            while not work.limiter.stopped:
                try:
                    if not self._in_flight and not self._has_work():
                        break
                    call_id = await work.limiter.acquire(work.planner)
                    if call_id is None:
                        await self._wait_for_work()
                        continue
                except PipelineError as e:
                    work.stop(e)
                    break
                assert work.planner.planned is not None
                self._in_flight += 1
                group.create_task(self._send(call_id, work.planner.planned))
        await self._outcomes.finish()
        self._note_progress()
        self._report_usage(last=True)
        if self._missing:  # the part of a complete shard is written with its manifest
            await self._save_part()

    def check_complete(self) -> None:
        """If chunks are missing, raise an error: a copy of the error that stopped the shard, else IncompleteError.

        A copy is raised, because the traceback of a stored error grows each time the error is raised.
        """
        work = self._work
        missing = [item.chunk_id for item in work.items if item.cache_key not in work.journal]
        if not missing:
            return
        reason = work.limiter.stopped or IncompleteError("the server kept failing; run the same command again")
        examples = ", ".join(missing[:3])
        message = f"{work.shard.label}: {len(missing)} of {len(work.items)} chunks missing, e.g. {examples}: {reason}"
        raise reason.fresh(message) from None

    def check_repairs(self) -> None:
        """Raise RepairsPendingError if an error stopped the shard before its repairs, and may be over by now.

        Repairs that the quota, the budget or the key does not allow stay pending: they are not worth another run.
        """
        work, reason = self._work, self._work.limiter.stopped
        if work.pair_check is None or not isinstance(reason, IncompleteError):
            return
        pending = sum(work.journal.is_repairable(item.cache_key) for item in work.items)
        if pending and not isinstance(reason, (QuotaExhaustedError, BudgetExceededError, KeyRejectedError)):
            raise RepairsPendingError(
                f"{work.shard.label}: {pending} answers have faulty pairs that were not requested again: {reason}"
            ) from None

    def _has_work(self) -> bool:
        """Return whether this worker can still ask for something, or waits for others to finish its own shard."""
        work = self._work
        if work.planner.again or work.pool.has_open_chunks(own_only=True) or work.pool.next_chunks(1):
            return True
        if work.pair_check is None:
            return False
        return bool(work.pool.repairable(1)) or not self._own_keys.isdisjoint(work.journal.repairable_keys())

    async def _wait_for_work(self) -> None:
        """Wait until a call of this worker ends, or for a short time, then look at the work of the others."""
        delays = (entry.attempts.not_before - time.monotonic() for entry in self._work.planner.again)
        poll_s = min(MAX_IDLE_POLL_S, IDLE_POLL * self._work.limiter.window_s, *(d for d in delays if d > 0))
        self._call_ended.clear()
        try:
            await asyncio.wait_for(self._call_ended.wait(), max(0.01, poll_s))
        except TimeoutError:
            if not self._in_flight:
                await self._outcomes.quarantine_suspects()
            self._work.pool.refresh()
            self._note_progress()

    async def _send(self, call_id: str, call: Call) -> None:
        """Send one call and process its outcome."""
        try:
            await self._outcomes.send(call_id, call)
            self._note_progress(item.cache_key for item in call.items)
            # The interval grows with the part file. With a fixed one, the total time of all rewrites would be
            # quadratic.
            done = self._work.progress.done
            if done - self._done_at_last_save >= max(self._work.config.save_every, done // 10):
                await self._save_part()
        except PipelineError as e:
            self._work.stop(e)
        finally:
            self._in_flight -= 1
            self._call_ended.set()

    async def _save_part(self) -> None:
        work = self._work
        self._done_at_last_save = work.progress.done
        async with self._saving:
            await asyncio.to_thread(write_part, work.run, work.shard, work.items, work.journal)

    def _note_progress(self, asked: Iterable[str] | None = None) -> None:
        """Publish the number of answered chunks in the own shard, whoever answered them, and the usage.

        Only the chunks with the cache keys `asked` are looked up; without `asked`, all that had no answer before.
        """
        work = self._work
        usage = summarize_shard_usage(work.limiter.state, work.shard.shard, work.config)
        repairs = {"repair_calls": usage.repair_calls} if work.pair_check else {}
        work.progress.note(
            requests_429=usage.requests_429,
            retries=usage.retries,
            cost_usd=usage.cost_usd,
            **repairs,
            quarantined=self._outcomes.quarantined,
            helped=self._outcomes.helped,
        )
        candidates = list(self._missing) if asked is None else asked
        answered = {key for key in candidates if key in self._missing and key in work.journal}
        if answered:
            work.progress.advance(sum(self._missing.pop(key) for key in answered))
        self._report_usage(last=False)

    def _report_usage(self, *, last: bool) -> None:
        """Report the usage, at most once per interval unless it is the last report."""
        work = self._work
        if work.on_usage is None or (time.monotonic() - self._reported_at < REPORT_INTERVAL_S and not last):
            return
        waiting = work.progress.total - work.progress.done
        with contextlib.suppress(PipelineError):  # the next call raises the error, too, and stops the shard
            work.on_usage(live_usage(work.shard, work.limiter, work.config, waiting))
        self._reported_at = time.monotonic()
