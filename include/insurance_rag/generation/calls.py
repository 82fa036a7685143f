"""Call a teacher through the rate limiter, and retry temporary failures."""

from __future__ import annotations

import tenacity

from insurance_rag.core.errors import (
    BlockedAnswerError,
    InvalidAnswerError,
    KeyRejectedError,
    PipelineError,
    ProjectRejectedError,
    QuotaExhaustedError,
    RateLimitError,
    ServerUnavailableError,
)
from insurance_rag.core.records import Chunk
from insurance_rag.generation.teachers.base import RepairRequest, Teacher, TeacherAnswer
from insurance_rag.rate_limit.backoff import retry_wait_s
from insurance_rag.rate_limit.limiter import Limiter


class TeacherCalls:
    """Calls one teacher within the quotas of the API key."""

    def __init__(self, teacher: Teacher, limiter: Limiter) -> None:
        self._teacher, self._limiter = teacher, limiter

    async def generate(self, chunk: Chunk, repair: RepairRequest | None = None) -> TeacherAnswer:
        """Return the teacher's answer for `chunk`. If `repair` is given, return the answer to this repair request.

        After a 429, the request waits in the rate limiter and is sent again. These retries do not count toward
        the teacher's `max_retries`.

        Server failures and unreadable answers are retried up to `max_retries` times. If the last retry fails too,
        raises ServerUnavailableError or InvalidAnswerError. BlockedAnswerError and errors that stop the shard, such as
        KeyRejectedError, are raised without a retry.
        """
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((ServerUnavailableError, InvalidAnswerError)),
            stop=tenacity.stop_after_attempt(self._teacher.max_retries + 1),
            wait=self._retry_wait_s,
            reraise=True,
        )
        is_retry = False
        async for attempt in retrying:
            with attempt:
                return await self._send_when_admitted(chunk, repair, is_retry)
            is_retry = True
        raise AssertionError("tenacity returns or raises")

    def _retry_wait_s(self, state: tenacity.RetryCallState) -> float:
        """Return the seconds to wait before a retry: 0 after an unreadable answer, a backoff after a server failure."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, InvalidAnswerError):
            return 0.0
        return retry_wait_s(state.attempt_number - 1, self._limiter.window_s)

    async def _send_when_admitted(self, chunk: Chunk, repair: RepairRequest | None, is_retry: bool) -> TeacherAnswer:
        characters = self._teacher.request_characters(chunk, repair)
        while True:
            call = await self._limiter.acquire(characters, is_retry=is_retry, is_repair=repair is not None)
            is_retry = True
            try:
                answer = await self._teacher.generate(chunk, repair)
            except RateLimitError as e:
                self._limiter.rate_limited(call, e.metric, e.limit, e.retry_after_s)
            except QuotaExhaustedError:
                self._limiter.daily_quota_exhausted(call)
            except KeyRejectedError as e:
                self._limiter.key_rejected(call, str(e), whole_project=isinstance(e, ProjectRejectedError))
            except PipelineError as e:
                tokens = e.tokens if isinstance(e, (InvalidAnswerError, BlockedAnswerError)) else (0, 0)
                self._limiter.failed(call, type(e).__name__, *tokens)
                raise
            else:
                self._limiter.answered(call, answer.tokens_in, answer.tokens_out)
                return answer
