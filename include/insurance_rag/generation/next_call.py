"""Choose what a worker asks in its next call: retries first, then first answers, then repairs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from insurance_rag.config import GenerationConfig
from insurance_rag.core.records import Chunk, Shard
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.generation import packing
from insurance_rag.generation.prompt import ChunkRequest
from insurance_rag.generation.repair import repair_request
from insurance_rag.generation.retry import Attempts
from insurance_rag.generation.teachers.base import FIRST_VARIANT, Teacher, TeacherRequest, Variant
from insurance_rag.generation.teachers.registry import TEACHERS
from insurance_rag.generation.work_pool import WorkPool
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.prompt_spec import PromptSpec
from insurance_rag.planning.question_plan import plan_pairs
from insurance_rag.planning.work_items import WorkItem, read_chunk, read_other_chunk
from insurance_rag.rate_limit.admission import calls_in_flight, current_limit
from insurance_rag.rate_limit.limiter import CallSize, StopCheck
from insurance_rag.rate_limit.quota import Metric
from insurance_rag.rate_limit.state import RateLimitState

METRICS: tuple[Metric, ...] = ("requests", "tokens")


@dataclass
class Call:
    """One call: the chunks and the request for them."""

    items: list[WorkItem]
    request: TeacherRequest
    size: CallSize

    @property
    def is_repair(self) -> bool:
        """Whether the call asks for replacements of faulty pairs."""
        return self.request.repair


@dataclass
class Again:
    """A chunk that this worker has claimed and will ask for again."""

    item: WorkItem
    attempts: Attempts
    is_repair: bool = False


class CallPlanner:
    """Implements the limiter's `NextCall`: it plans the next call whenever the limiter asks for its size."""

    def __init__(
        self,
        run: RunFolder,
        shard: Shard,
        config: GenerationConfig,
        journal: GenerationJournal,
        pool: WorkPool,
        teacher: Teacher,
        budget_guard: StopCheck,
        *,
        repairs_enabled: bool,
    ) -> None:
        self._run, self._shard, self._config, self._journal = run, shard, config, journal
        self._pool, self._teacher, self._spec = pool, teacher, PromptSpec.from_config(config)
        self.again: list[Again] = []
        self._budget_guard, self._repairs_enabled = budget_guard, repairs_enabled
        self.planned: Call | None = None
        """The call that the limiter admitted last."""
        self._calls_planned = 0
        self._last_claim = time.monotonic()
        self._requests: dict[tuple[str, bool], ChunkRequest] = {}
        self._sizes: dict[tuple[tuple[str, ...], Variant, bool, bool], CallSize] = {}

    def size(self, state: RateLimitState, now: float) -> CallSize | None:
        """Plan the next call and return its size; None if there is nothing to ask at the moment."""
        planned = self._plan_retry(state, now) or self._plan_first_answers(state, now) or self._plan_repairs(state, now)
        self.planned = self._within_budget(planned, state, now) if planned else None
        return self.planned.size if self.planned else None

    def claim(self, size: CallSize) -> bool:
        """Claim the chunks of the planned call. Chunks that are requested again have been claimed before."""
        call = self.planned
        assert call is not None
        if size.is_retry:
            self._pool.renew(call.items, repair=call.is_repair)
            keys = {item.cache_key for item in call.items}
            self.again = [e for e in self.again if e.item.cache_key not in keys or e.is_repair != call.is_repair]
        elif not self._pool.claim(call.items, repair=call.is_repair):
            return False
        self._calls_planned += 1
        self._last_claim = time.monotonic()
        self._requests.clear()
        self._sizes.clear()
        return True

    def _plan_retry(self, state: RateLimitState, now: float) -> Call | None:
        """Plan a call for chunks that were asked before. Chunks that are asked in the same way share the call."""
        ready = [entry for entry in self.again if entry.attempts.not_before <= time.monotonic()]
        if not ready:
            return None
        first = ready[0]
        n = first.attempts.max_chunks or packing.MAX_SIZE
        alike = [e for e in ready if e.is_repair == first.is_repair and _is_alike(e.attempts, first.attempts)]
        items = [entry.item for entry in alike[:n]]
        return self._fit(items, state, now, first.attempts.variant, is_retry=True, is_repair=first.is_repair)

    def _plan_first_answers(self, state: RateLimitState, now: float) -> Call | None:
        n = self._chunks_per_call(state, now)
        items = self._pool.next_chunks(n) if n else []
        return self._fit(items, state, now) if items else None

    def _plan_repairs(self, state: RateLimitState, now: float) -> Call | None:
        """Plan a repair call with as many pairs as a call with first answers would have.

        While chunks are without a first answer, only a call of full size is planned: their answers may add pairs to it.
        After half a quota window without work, a smaller call is planned too.
        """
        if not self._repairs_enabled or self._pool.next_chunks(1):
            return None
        per_chunk = len(self._spec.types) * self._spec.pairs_per_type
        n_pairs = per_chunk * self._repair_chunks(state)
        # One chunk more than fits, because each has a pair. All of them would take quadratic time.
        if not (repairable := self._pool.repairable(n_pairs + 1)):
            return None
        items: list[WorkItem] = []
        pairs = 0
        max_chars = self._max_repair_chars(state, now)
        for item in repairable:
            more = len(self._request(item, is_repair=True).pairs)
            if items and (pairs + more > n_pairs or self._exceeds(max_chars, [*items, item])):
                break
            items.append(item)
            pairs += more
        is_full = len(items) < len(repairable)
        if not is_full and self._is_waiting_for_answers(state):
            return None
        return self._call(items, is_repair=True)

    def _repair_chunks(self, state: RateLimitState) -> int:
        """Return the size of a repair call, measured in chunks with first answers."""
        if self._config.chunks_per_call != "auto":
            return max(packing.FIRST_SIZE, self._config.chunks_per_call)
        return packing.approved_size(state.packs)

    def _max_repair_chars(self, state: RateLimitState, now: float) -> float:
        limit = current_limit(state, state.pool(self._shard.pool), "tokens", now)
        return math.inf if limit is None else packing.REPAIR_TOKEN_SHARE * limit / state.tokens_per_char

    def _within_budget(self, call: Call, state: RateLimitState, now: float) -> Call | None:
        """Return the call, or one with fewer chunks that the budget allows.

        Returns None if not even one chunk fits, but calls in flight may turn out cheaper than expected. The limiter
        stops the shard if there are none.
        """
        while self._budget_guard(state, call.size) and len(call.items) > 1:
            half = call.items[: len(call.items) // 2]
            call = self._call(half, call.request.variant, is_retry=call.size.is_retry, is_repair=call.is_repair)
        return None if calls_in_flight(state, now) and self._budget_guard(state, call.size) else call

    def _exceeds(self, max_chars: float, items: Sequence[WorkItem]) -> bool:
        """Return whether a repair call for `items` has more characters than `max_chars`."""
        return max_chars < math.inf and self._call(items, is_repair=True).size.chars > max_chars

    def _is_waiting_for_answers(self, state: RateLimitState) -> bool:
        """Return whether first answers are expected soon, from this worker or from others."""
        own = any(call.shard == self._shard.shard and not call.is_repair for call in state.in_flight.values())
        patient = time.monotonic() - self._last_claim < state.window_s / 2
        return own or (patient and self._pool.has_open_chunks())

    def _chunks_per_call(self, state: RateLimitState, now: float) -> int:
        """Return how many chunks the next call asks about; 0 to wait for the answers to calls in flight."""
        teacher, pool = TEACHERS[self._config.teacher], state.pool(self._shard.pool)
        if not teacher.supports_packs:
            return 1
        if self._config.chunks_per_call != "auto":
            return self._config.chunks_per_call
        if not teacher.limits_requests and not any(state.known_limit(pool, metric) for metric in METRICS):
            return 1
        open_chunks = self._pool.free_chunks()
        approved = packing.approved_size(state.packs)
        needed = packing.needed_size(state, pool, self._shard.share, open_chunks, now)
        if cost := self._token_cost(state):
            needed = packing.size_within_tokens(state, pool, cost, open_chunks, approved, now) or needed
        if needed == 1 or packing.wants_control(state, self._calls_planned):
            return 1
        if packing.is_untested(state.packs, approved) and needed > approved and self._must_wait(state):
            return 0
        return min(approved, needed)

    def _must_wait(self, state: RateLimitState) -> bool:
        """Return whether to wait for the first answers to calls of an untested size, because larger calls may work.

        Every worker may have one such call in flight, and all workers together at least as many as are needed.
        """
        waiting = [call.shard for call in state.in_flight.values() if call.chunks > 1 and not call.is_repair]
        return self._shard.shard in waiting and len(waiting) >= packing.CALLS_BEFORE_GROWTH

    def _token_cost(self, state: RateLimitState) -> packing.TokenCost | None:
        """Estimate the tokens of a call from the next two chunks; None if there are fewer."""
        items = self._pool.next_chunks(2)
        if len(items) < 2:
            return None
        one, two = (self._call(items[:n]).size.chars * state.tokens_per_char for n in (1, 2))
        return packing.TokenCost(head=2 * one - two, chunk=two - one)

    def _fit(
        self,
        items: Sequence[WorkItem],
        state: RateLimitState,
        now: float,
        variant: Variant = FIRST_VARIANT,
        **kind: bool,
    ) -> Call:
        """Return a call for as many of `items` as fit into the token limit."""

        def call_tokens(n: int) -> float:
            return self._call(items[:n], variant, **kind).size.chars * state.tokens_per_char

        n = packing.fitting_size(state, state.pool(self._shard.pool), call_tokens, len(items), now)
        return self._call(items[:n], variant, **kind)

    def _call(
        self,
        items: Sequence[WorkItem],
        variant: Variant = FIRST_VARIANT,
        *,
        is_retry: bool = False,
        is_repair: bool = False,
    ) -> Call:
        requests = tuple(self._request(item, is_repair=is_repair) for item in items)
        request = TeacherRequest(requests, is_repair, variant)
        key = (tuple(item.cache_key for item in items), variant, is_retry, is_repair)
        if key not in self._sizes:
            chars = self._teacher.request_characters(request)
            self._sizes[key] = CallSize(chars, len(items), request.pairs, is_retry, is_repair)
        return Call(list(items), request, self._sizes[key])

    def _request(self, item: WorkItem, *, is_repair: bool) -> ChunkRequest:
        key = (item.cache_key, is_repair)
        if key not in self._requests:
            request = _first_request(self._spec, read_chunk(self._run, item), read_other_chunk(self._run, item))
            self._requests[key] = (
                repair_request(request, self._journal.answer(item.cache_key)) if is_repair else request
            )
        return self._requests[key]


def plan_call(run: RunFolder, spec: PromptSpec, items: Sequence[WorkItem]) -> Call:
    """Return a call for the first answers of `items`, with an unknown number of characters."""
    requests = tuple(_first_request(spec, read_chunk(run, item), read_other_chunk(run, item)) for item in items)
    request = TeacherRequest(requests)
    return Call(list(items), request, CallSize(0, len(items), request.pairs))


def _first_request(spec: PromptSpec, chunk: Chunk, other: Chunk | None) -> ChunkRequest:
    return ChunkRequest(chunk, plan_pairs(spec, chunk, other), other)


def _is_alike(a: Attempts, b: Attempts) -> bool:
    return a.max_chunks == b.max_chunks and a.variant == b.variant
