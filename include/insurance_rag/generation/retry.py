"""Decide how to request chunks again after a failed call.

A failed call with several chunks is repeated with fewer chunks, until the chunk that is the cause is alone in a call.
Then this chunk is requested in different ways: at a higher temperature, and without quotations. Answers that the API
blocks, e.g. with RECITATION, depend on the sample drawn and on how closely the answer repeats the chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from insurance_rag.core.errors import BlockedAnswerError, InvalidRequestError, PipelineError
from insurance_rag.generation.teachers.base import FIRST_VARIANT, Variant

PACK_DIVISOR = 4
"""After a failed call with n chunks, they are requested again in calls with n / 4 chunks."""
MAX_BLOCKED_RETRIES = 3
"""Number of times that a chunk is requested again, alone and in a different way, after blocked answers."""
MAX_REPAIR_RETRIES = 1
"""Number of times that a repair is requested again, alone, after unusable answers. The first answer is kept anyway."""
MAX_REQUEUES = 2
"""After `max_retries` server failures, a chunk is retried this many times more often, while other chunks are
answered."""

VARIANTS = (FIRST_VARIANT, Variant(warmer=True), Variant(paraphrase=True), Variant(warmer=True, paraphrase=True))
"""The ways to ask for a chunk, by the number of unusable answers to requests for this chunk alone."""


@dataclass(frozen=True)
class Attempts:
    """What has happened to the requests for one chunk, and how to ask for it next."""

    max_chunks: int | None = None
    """Maximum number of chunks in the next call; None for no maximum."""
    unusable: int = 0
    """Number of unusable answers to requests for this chunk alone."""
    server_failures: int = 0
    """Number of server failures while other chunks were answered."""
    failures_in_row: int = 0
    """Number of server failures since the last answer, which determines the backoff."""
    not_before: float = 0.0
    """Time on the monotonic clock before which the chunk is not requested again."""

    @property
    def variant(self) -> Variant:
        """How to ask next. After all variants, the last one is repeated."""
        return VARIANTS[min(self.unusable, len(VARIANTS) - 1)]

    def after_unusable_answer(self, n_chunks: int) -> Attempts:
        """Return the attempts after an unusable answer to a call with `n_chunks` chunks."""
        if n_chunks == 1:
            return replace(self, max_chunks=1, unusable=self.unusable + 1)
        return replace(self, max_chunks=max(1, n_chunks // PACK_DIVISOR))

    def after_server_failure(self, n_chunks: int, now: float, wait_s: float, *, counts: bool) -> Attempts:
        """Return the attempts after a server failure of a call with `n_chunks` chunks, which is repeated in `wait_s` s.

        The next call has at most as many chunks, and after repeated failures half as many. The failure counts only if
        other chunks were answered meanwhile.
        """
        return replace(
            self,
            max_chunks=max(1, n_chunks // 2) if self.failures_in_row else n_chunks,
            server_failures=self.server_failures + counts,
            failures_in_row=self.failures_in_row + 1,
            not_before=now + wait_s,
        )

    def may_ask_again(self, error: PipelineError, max_retries: int, *, is_repair: bool = False) -> bool:
        """Return whether to request the chunk alone once more. `error` describes the last unusable answer."""
        if isinstance(error, InvalidRequestError):
            return False
        allowed = max_retries
        if isinstance(error, BlockedAnswerError):
            allowed = min(allowed, MAX_BLOCKED_RETRIES)
        return self.unusable <= (min(allowed, MAX_REPAIR_RETRIES) if is_repair else allowed)

    def may_retry_server(self, max_retries: int) -> bool:
        """Return whether to send the request again after this many server failures."""
        return self.server_failures < (max_retries + 1) * (1 + MAX_REQUEUES)
