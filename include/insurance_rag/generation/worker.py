"""The worker for one shard. It requests pairs for every chunk without a journal record, then requests repairs.

Each answer is synced to disk before the next chunk starts, so killing the process loses at most the calls in flight.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property

from insurance_rag.config import GenerationConfig
from insurance_rag.core.errors import (
    BlockedAnswerError,
    IncompleteError,
    InvalidAnswerError,
    InvalidInputError,
    InvalidRequestError,
    PipelineError,
    ServerUnavailableError,
)
from insurance_rag.core.progress import Progress
from insurance_rag.core.records import ProgressState, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation.calls import TeacherCalls
from insurance_rag.generation.parts import write_part
from insurance_rag.generation.recording import record_answer, record_quarantine, record_repair
from insurance_rag.generation.repair import PairCheck, find_faults, repair_request
from insurance_rag.generation.teachers.base import Teacher, TeacherAnswer
from insurance_rag.generation.teachers.registry import TEACHERS
from insurance_rag.generation.usage import summarize_shard_usage
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.work_items import WorkItem, read_chunk
from insurance_rag.rate_limit.limiter import Limiter

OnUpdate = Callable[[ProgressState], None]

MAX_REQUEUES = 2
"""Maximum number of requeues per chunk. A requeue counts only if another chunk was answered in the meantime."""
MAX_CONSECUTIVE_FAILURES = 5
"""A shard without any success stops after this many rejected requests or unreadable answers in a row."""
MAX_CONSECUTIVE_FAILURES_AFTER_SUCCESS = 10
"""The same number for a shard that has had a success. Possible causes of such failures are used-up credit or a server
that was restarted with other settings."""
OUTAGE_WINDOWS = 3
"""The server counts as down after this many quota windows (normally minutes) without any answer."""


@dataclass(frozen=True)
class ShardInputs:
    """The chunks and settings for one worker."""

    run: RunFolder
    shard: Shard
    items: list[WorkItem]
    config: GenerationConfig
    pair_check: PairCheck | None = None

    @cached_property
    def prompt_spec(self) -> PromptSpec:
        """The prompt specification that follows from the configuration."""
        return PromptSpec.from_config(self.config)

    @property
    def active_pair_check(self) -> PairCheck | None:
        """The pair check if repairs are enabled and the teacher supports them, else None."""
        supported = TEACHERS[self.config.teacher].supports_repair
        return self.pair_check if self.config.repair and supported else None


class Worker:
    """Processes one queue of chunks with several coroutines. The rate limiter decides how many calls are in flight."""

    def __init__(
        self, inputs: ShardInputs, journal: GenerationJournal, limiter: Limiter, teacher: Teacher, progress: Progress
    ) -> None:
        self._inputs, self._journal, self._limiter, self._progress = inputs, journal, limiter, progress
        self._calls = TeacherCalls(teacher, limiter)
        # Chunks with identical content share a cache key and need only one call.
        self._unique_items = list({item.cache_key: item for item in inputs.items}.values())
        self._queue = deque(item for item in self._unique_items if item.cache_key not in journal)
        self._pair_check = inputs.active_pair_check
        self._requeues: Counter[str] = Counter()
        self._unsaved = 0
        self._saving = asyncio.Lock()
        self._last_success = time.monotonic()  # the start time, as long as there is no success
        self._quarantined = 0
        self._suspects: list[tuple[WorkItem, InvalidRequestError | InvalidAnswerError]] = []
        keys = (item.cache_key for item in inputs.items)
        self._has_succeeded = any(key in journal and not journal.is_quarantined(key) for key in keys)

    async def run(self) -> None:
        """Request the missing first answers, then repairs, and save the part file.

        An error that stops the shard is not raised, but stored in `Limiter.stopped`, so that no more calls are sent.
        """
        await asyncio.sleep(0)  # let all shards in this process start before the first call is sent
        await self._empty_queue(self._answer)
        await self._quarantine_suspects()
        if self._pair_check:  # first answers have priority over repairs
            self._queue.extend(i for i in self._unique_items if self._journal.is_repairable(i.cache_key))
            await self._empty_queue(self._repair)
        self._progress.note(**self._figures())
        if self._unsaved:
            await self._save_part()

    def check_complete(self) -> None:
        """If chunks are missing, raise an error: a copy of the error that stopped the shard, else IncompleteError.

        A copy is raised, because the traceback of a stored error grows each time the error is raised.
        """
        items, shard = self._inputs.items, self._inputs.shard
        missing = [item.chunk_id for item in items if item.cache_key not in self._journal]
        if not missing:
            return
        reason = self._limiter.stopped or IncompleteError("the server kept failing; run the same command again")
        examples = ", ".join(missing[:3])
        message = f"{shard.label}: {len(missing)} of {len(items)} chunks missing, e.g. {examples}: {reason}"
        raise reason.fresh(message) from None

    async def _empty_queue(self, step: Callable[[WorkItem], Awaitable[None]]) -> None:
        """Apply `step` to every queued item, in up to `max_in_flight` coroutines."""

        async def work() -> None:
            while self._queue and not self._limiter.stopped:
                item = self._queue.popleft()
                try:
                    await step(item)
                except (IncompleteError, InvalidInputError) as e:
                    self._stop(e)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._inputs.config.max_in_flight, len(self._queue))):
                group.create_task(work())

    def _stop(self, reason: PipelineError) -> None:
        """Stop the shard. If it was stopped before, the first reason is kept."""
        self._limiter.stopped = self._limiter.stopped or reason

    async def _answer(self, item: WorkItem) -> None:
        """Request and record the first answer for a chunk."""
        started = time.monotonic()
        chunk = read_chunk(self._inputs.run, item)
        try:
            answer = await self._calls.generate(chunk)
        except (InvalidRequestError, InvalidAnswerError) as e:
            self._record_failure(item, e)
            return
        except BlockedAnswerError as e:
            record_quarantine(self._journal, item, e)
            self._quarantined += 1
        except ServerUnavailableError as e:
            self._requeue(item, e, started)
            return
        else:
            self._last_success = time.monotonic()
            self._has_succeeded = True
            await self._quarantine_suspects()
            spec = self._inputs.prompt_spec
            faults = find_faults(self._pair_check, chunk, answer.pairs, spec) if self._pair_check else []
            record_answer(self._journal, item, answer, spec, self._inputs.shard.key_id, faults)
        await self._on_answer_saved()

    async def _repair(self, item: WorkItem) -> None:
        """Request replacements for a chunk's faulty pairs. The journal keeps both answers."""
        started = time.monotonic()
        request = repair_request(self._journal.answer(item.cache_key), self._inputs.prompt_spec)
        outcome: TeacherAnswer | PipelineError
        try:
            outcome = await self._calls.generate(read_chunk(self._inputs.run, item), request)
        except (BlockedAnswerError, InvalidAnswerError) as e:
            outcome = e
        except ServerUnavailableError as e:
            self._requeue(item, e, started)
            return
        else:
            self._last_success = time.monotonic()
        record_repair(self._journal, item, outcome, self._inputs.shard.key_id)
        await self._on_answer_saved(new_chunks=0)

    async def _on_answer_saved(self, new_chunks: int = 1) -> None:
        """Wait until the answer is on disk, then update the progress. Rewrite the part file from time to time."""
        await asyncio.to_thread(self._journal.sync)
        self._progress.note(**self._figures())
        self._progress.advance(new_chunks)
        self._unsaved += 1
        # The interval grows with the part file. With a fixed one, the total time of all rewrites would be quadratic.
        if self._unsaved >= max(self._inputs.config.save_every, self._progress.done // 10):
            await self._save_part()

    async def _save_part(self) -> None:
        self._unsaved = 0
        async with self._saving:
            inputs = self._inputs
            await asyncio.to_thread(write_part, inputs.run, inputs.shard, inputs.items, self._journal)

    def _record_failure(self, item: WorkItem, error: InvalidRequestError | InvalidAnswerError) -> None:
        """Record a rejected request or an unreadable answer, and stop the shard after too many in a row.

        If the shard stops, its settings are probably wrong, so the failed chunks are not quarantined. Otherwise the
        chunks themselves are probably the cause. They are quarantined after the next success or once the queue
        is empty.
        """
        self._suspects.append((item, error))
        allowed = MAX_CONSECUTIVE_FAILURES_AFTER_SUCCESS if self._has_succeeded else MAX_CONSECUTIVE_FAILURES
        if len(self._suspects) >= allowed:
            self._stop(
                InvalidInputError(
                    f"the last {len(self._suspects)} requests in a row were rejected or their answers are unreadable "
                    f"({error}); check the teacher's settings, then run the same command again"
                )
            )

    async def _quarantine_suspects(self) -> None:
        """Quarantine the chunks that failed since the last success, unless the shard has stopped."""
        while self._suspects and not self._limiter.stopped:
            record_quarantine(self._journal, *self._suspects.pop())
            self._quarantined += 1
            await self._on_answer_saved()

    def _requeue(self, item: WorkItem, error: ServerUnavailableError, started: float) -> None:
        """Put a chunk back at the end of the queue after a server failure.

        While other chunks are answered, a chunk is requeued at most MAX_REQUEUES times. If no chunk was answered for
        OUTAGE_WINDOWS quota windows, the server counts as down and the shard stops.
        """
        max_outage_s = OUTAGE_WINDOWS * self._limiter.window_s
        if self._last_success > started:
            self._requeues[item.cache_key] += 1
        elif time.monotonic() - self._last_success > max_outage_s:
            self._stop(
                IncompleteError(f"no answer for {max_outage_s:.0f} s ({error}); run the same command again later")
            )
        if self._requeues[item.cache_key] <= MAX_REQUEUES:
            self._queue.append(item)

    def _figures(self) -> dict[str, float | int]:
        usage = summarize_shard_usage(self._limiter.state, self._inputs.shard.shard, self._inputs.config)
        repairs = {"repair_calls": usage.repair_calls} if self._pair_check else {}
        return {
            "requests_429": usage.requests_429,
            "retries": usage.retries,
            "cost_usd": usage.cost_usd,
            **repairs,
            "quarantined": self._quarantined,
        }
