"""Send one call and process its outcome: record the answer, or decide how the chunks are requested again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from insurance_rag.core.errors import (
    BlockedAnswerError,
    IncompleteError,
    InvalidAnswerError,
    InvalidInputError,
    InvalidRequestError,
    KeyRejectedError,
    PipelineError,
    ProjectRejectedError,
    QuotaExhaustedError,
    RateLimitError,
    ServerUnavailableError,
)
from insurance_rag.generation.next_call import Again, Call
from insurance_rag.generation.recording import record_answers, record_failed_repair, record_quarantine
from insurance_rag.generation.retry import Attempts
from insurance_rag.generation.shard_work import ShardWork
from insurance_rag.generation.teachers.base import TeacherAnswer
from insurance_rag.planning.work_items import WorkItem
from insurance_rag.rate_limit.backoff import retry_wait_s

log = logging.getLogger(__name__)

MAX_CONSECUTIVE_FAILURES = 5
"""A shard without any success stops after this many chunks in a row with rejected requests or unreadable answers."""
MAX_CONSECUTIVE_FAILURES_AFTER_SUCCESS = 10
"""The same number for a shard that has had a success. Possible causes of such failures are used-up credit or a server
that was restarted with other settings."""
OUTAGE_WINDOWS = 3
"""The server counts as down after this many quota windows (normally minutes) without any answer."""
MAX_BACKOFF_STEPS = 4
"""Number of times that the backoff after server failures is doubled."""


class Outcomes:
    """Processes the outcomes of one worker's calls."""

    def __init__(self, work: ShardWork) -> None:
        self._work = work
        self._attempts: dict[tuple[str, bool], Attempts] = {}  # (cache key, whether it is a repair) -> attempts
        self._last_success = time.monotonic()  # the start time, as long as there is no success
        self._failing_since: float | None = None  # time of the first server failure since the last success
        self._suspects: list[tuple[WorkItem, InvalidRequestError | InvalidAnswerError]] = []
        self._own_keys = {item.cache_key for item in work.items}
        journal = work.journal
        self._has_succeeded = any(key in journal and not journal.is_quarantined(key) for key in self._own_keys)
        self._warned_of_model = False
        self.quarantined = 0
        """Number of chunks that this worker has quarantined."""
        self.helped = 0
        """Number of chunks of other shards that this worker has answered."""

    async def send(self, call_id: str, call: Call) -> None:
        """Send one call and process its outcome. Raises a PipelineError that stops the shard."""
        limiter, started = self._work.limiter, time.monotonic()
        try:
            answer = await self._work.teacher.generate(call.request)
        except RateLimitError as e:
            limiter.rate_limited(call_id, e.metric, e.limit, e.retry_after_s)
            self._give_back(call)
        except QuotaExhaustedError:
            limiter.daily_quota_exhausted(call_id)
            self._give_back(call)
        except KeyRejectedError as e:
            limiter.key_rejected(call_id, str(e), whole_project=isinstance(e, ProjectRejectedError))
            self._give_back(call)
        except (InvalidAnswerError, BlockedAnswerError) as e:
            unreadable = isinstance(e, InvalidAnswerError)
            limiter.failed(call_id, type(e).__name__, e.tokens, unreadable=unreadable)
            await self._ask_differently(call, call.items, e, len(call.items))
        except ServerUnavailableError as e:
            limiter.failed(call_id, type(e).__name__)
            await self._retry_server(call, e, started)
        except PipelineError as e:
            limiter.failed(call_id, type(e).__name__)
            raise
        else:
            await self._record(call_id, call, answer)

    async def finish(self) -> None:
        """Quarantine the last suspects, and give up the chunks that were waiting to be requested again."""
        await self.quarantine_suspects()
        for is_repair in (False, True):
            waiting = [entry.item for entry in self._work.planner.again if entry.is_repair == is_repair]
            self._work.pool.release(waiting, repair=is_repair)
        self._work.planner.again.clear()

    async def _record(self, call_id: str, call: Call, answer: TeacherAnswer) -> None:
        """Record the answer for each chunk. Chunks of a pack without a usable answer are requested again, alone."""
        work = self._work
        self._last_success = time.monotonic()
        self._has_succeeded, self._failing_since = True, None
        await self.quarantine_suspects()
        recorded = record_answers(work.journal, call, answer, work.config, work.shard.key_id, work.pair_check)
        work.limiter.answered(call_id, recorded.counts)
        if answer.dropped:
            log.info(
                "%s: left out %d of the pairs in an answer; the first one %s",
                work.shard.label,
                len(answer.dropped),
                answer.dropped[0],
            )
        self._warn_of_other_model(answer.model)
        open_keys = {item.cache_key for item in recorded.open_items}
        answered = [item for item in call.items if item.cache_key not in open_keys]
        if not call.is_repair:
            self.helped += sum(item.cache_key not in self._own_keys for item in answered)
        await asyncio.to_thread(work.journal.sync)
        if recorded.damage:
            raise recorded.damage
        if recorded.open_items:
            error = InvalidAnswerError("the answer has no usable pair for this chunk")
            n = len(call.items) if call.is_repair else 2  # a chunk that failed in a pack is asked alone
            await self._ask_differently(call, recorded.open_items, error, n if len(call.items) > 1 else 1)

    async def _ask_differently(
        self, call: Call, items: Sequence[WorkItem], error: InvalidAnswerError | BlockedAnswerError, n_chunks: int
    ) -> None:
        """Request chunks again in a smaller call or in another way. Give up on chunks for which that has been tried."""
        for item in items:
            attempts = self._attempts_of(item, call).after_unusable_answer(n_chunks)
            if n_chunks > 1 or attempts.may_ask_again(error, self._work.teacher.max_retries, is_repair=call.is_repair):
                self._ask_again(item, call, attempts)
            else:
                await self._give_up(item, call, error)

    def _attempts_of(self, item: WorkItem, call: Call) -> Attempts:
        return self._attempts.get((item.cache_key, call.is_repair), Attempts())

    def _ask_again(self, item: WorkItem, call: Call, attempts: Attempts) -> None:
        self._attempts[item.cache_key, call.is_repair] = attempts
        self._work.planner.again.append(Again(item, attempts, call.is_repair))

    def _give_back(self, call: Call) -> None:
        """After a refused call, let any worker request its chunks. Chunks that were asked before stay with this one."""
        if call.size.is_retry:
            for item in call.items:
                self._ask_again(item, call, self._attempts_of(item, call))
        else:
            self._work.pool.release(call.items, repair=call.is_repair)

    async def _give_up(self, item: WorkItem, call: Call, error: InvalidAnswerError | BlockedAnswerError) -> None:
        """Record that a chunk cannot be answered or repaired.

        If many chunks in a row have rejected requests or unreadable answers, the settings are probably wrong. The shard
        then stops, and the chunks are not quarantined. Otherwise, the chunks themselves are probably the cause. They
        are quarantined after the next success or at the end.
        """
        work = self._work
        if call.is_repair:
            record_failed_repair(work.journal, item, error, work.shard.key_id)
            await asyncio.to_thread(work.journal.sync)
            return
        if isinstance(error, BlockedAnswerError) and not isinstance(error, InvalidRequestError):
            await self._quarantine(item, error)
            return
        self._suspects.append((item, error))
        allowed = MAX_CONSECUTIVE_FAILURES_AFTER_SUCCESS if self._has_succeeded else MAX_CONSECUTIVE_FAILURES
        if len(self._suspects) >= allowed:
            raise InvalidInputError(
                f"the last {len(self._suspects)} requests in a row were rejected or their answers are unreadable "
                f"({error}); check the teacher's settings, then run the same command again"
            )

    async def quarantine_suspects(self) -> None:
        """Quarantine the chunks that failed since the last success, unless the shard has stopped.

        Call this method after a success, and when there is nothing left to ask.
        """
        while self._suspects and not self._work.limiter.stopped:
            await self._quarantine(*self._suspects.pop())

    async def _quarantine(self, item: WorkItem, error: PipelineError) -> None:
        record_quarantine(self._work.journal, item, error)
        self.quarantined += 1
        await asyncio.to_thread(self._work.journal.sync)

    async def _retry_server(self, call: Call, error: ServerUnavailableError, started: float) -> None:
        """Send the request again after a backoff. Give up on chunks whose requests fail while others are answered.

        If requests have failed for OUTAGE_WINDOWS quota windows, and none was answered in between, the server counts as
        down. Raises IncompleteError.
        """
        work, now = self._work, time.monotonic()
        max_outage_s = OUTAGE_WINDOWS * work.limiter.window_s
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since > max_outage_s:
            raise IncompleteError(f"no answer for {max_outage_s:.0f} s ({error}); run the same command again later")
        for item in call.items:
            attempts = self._attempts_of(item, call)
            wait_s = retry_wait_s(min(attempts.failures_in_row, MAX_BACKOFF_STEPS), work.limiter.window_s)
            counts = self._last_success > started
            attempts = attempts.after_server_failure(len(call.items), now, wait_s, counts=counts)
            if attempts.may_retry_server(work.teacher.max_retries):
                self._ask_again(item, call, attempts)
            elif call.is_repair:
                await self._give_up(item, call, InvalidAnswerError(str(error)))
            else:
                log.warning("%s: no answer for %s: %s", work.shard.label, item.chunk_id, error)
                work.pool.give_up(item)

    def _warn_of_other_model(self, model: str) -> None:
        """Log once per run that another model answers than the one that was asked."""
        asked = self._work.config.model
        if model and model != asked and not self._warned_of_model:
            self._warned_of_model = True
            others = sum(counts["other_model"] for counts in self._work.limiter.state.usage_counts.values())
            if others == 1:
                log.warning(
                    "model %s was asked, but %s answers; if the model has retired, set `model` to its successor and "
                    "add %s to `keep_answers_of`", asked, model, asked,
                )  # fmt: skip
