"""The work of a run as one worker sees it: its own chunks first, then open chunks of other shards, then repairs.

All workers of a run share the work through the journal (`GenerationJournal`), which holds the finished chunks, and the
claims (`ClaimLog`), which hold the chunks that a worker is about to request. A worker helps only shards that have been
started, so that `generate --shard 1` does not process the whole run.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from insurance_rag.core.errors import LogChangedError
from insurance_rag.planning.claims import ClaimLog
from insurance_rag.planning.generation_journal import GenerationJournal
from insurance_rag.planning.work_items import WorkItem


@dataclass
class _ShardQueue:
    """The chunks of one shard without an answer: those that are free, and those that another worker has claimed."""

    free: deque[WorkItem] = field(default_factory=deque)
    elsewhere: list[WorkItem] = field(default_factory=list)


class WorkPool:
    """Chooses the chunks for a worker's next call. Chunks with the same content count once."""

    def __init__(
        self,
        shard: int,
        items_by_shard: Mapping[int, Sequence[WorkItem]],
        journal: GenerationJournal,
        claims: ClaimLog,
    ) -> None:
        """`items_by_shard` holds all chunks of the worker's own shard and of the shards that it may help."""
        self._shard, self._journal, self._claims = shard, journal, claims
        self._items = {item.cache_key: item for items in items_by_shard.values() for item in items}
        self._owners = {item.cache_key: number for number, items in items_by_shard.items() for item in items}
        self._owners |= {item.cache_key: shard for item in items_by_shard[shard]}
        self._queues = {number: _ShardQueue() for number in items_by_shard}
        self._given_up: set[str] = set()
        for cache_key, number in self._owners.items():
            if cache_key not in journal:
                self._queues[number].free.append(self._items[cache_key])

    def next_chunks(self, n: int) -> list[WorkItem]:
        """Return up to `n` chunks of one shard that are free as far as this worker knows.

        The worker's own shard comes first, from the front. The other shards follow, the one with the most free chunks
        first, from the back, so that this worker and the shard's own worker rarely choose the same chunks.
        """
        for number in self._served_shards():
            queue = self._queues[number]
            self._sort_out(queue)
            if queue.free:
                candidates = queue.free if number == self._shard else reversed(queue.free)
                return list(itertools.islice(filter(self._is_free, candidates), n))
        return []

    def free_chunks(self) -> int:
        """Return how many free chunks the shard has that `next_chunks` chooses from.

        Of another worker's shard, only half of the chunks count, because that worker needs the other half.
        """
        sizes = ((number, len(self._queues[number].free)) for number in self._served_shards())
        number, size = next(((number, size) for number, size in sizes if size), (self._shard, 0))
        return size if number == self._shard else (size + 1) // 2

    def has_open_chunks(self, *, own_only: bool = False) -> bool:
        """Return whether any chunk is still to be requested by this worker, or is being requested by another one."""
        queues = [self._queues[number] for number in ([self._shard] if own_only else self._served_shards())]
        return any(queue.free or any(map(self._is_expected, queue.elsewhere)) for queue in queues)

    def repairable(self, n: int) -> list[WorkItem]:
        """Return up to `n` chunks whose faulty pairs nobody is about to request again."""
        served = set(self._served_shards())
        found = (
            self._items[cache_key]
            for cache_key in self._journal.repairable_keys()
            if self._owners.get(cache_key) in served and self._claims.is_free(_claim_key(cache_key, repair=True))
        )
        return list(itertools.islice(found, n))

    def claim(self, items: Sequence[WorkItem], *, repair: bool = False) -> bool:
        """Claim all of `items`. If some of them are not free any more, claim nothing and return False."""
        keys = [_claim_key(item.cache_key, repair=repair) for item in items]
        try:
            with self._claims.locked():
                are_free = all(self._claims.is_free(key) for key in keys)
                self._journal.refresh()  # after the check: a worker that has just ended wrote its answers before
                if not are_free or not all(self._is_open(item, repair) for item in items):
                    return False
                self._claims.add(keys)
        except LogChangedError:  # on another machine, a worker has just claimed something: look again
            return False
        if not repair:
            self._remove(items)
        return True

    def release(self, items: Sequence[WorkItem], *, repair: bool = False) -> None:
        """Give up the claims on `items`, so that any worker may request them."""
        self._claims.release([_claim_key(item.cache_key, repair=repair) for item in items])
        if not repair:
            for item in reversed(items):
                self._queues[self._owners[item.cache_key]].free.appendleft(item)

    def give_up(self, item: WorkItem) -> None:
        """Give up the claim on a chunk that this worker could not get an answer for. Other workers may try it."""
        self._given_up.add(item.cache_key)
        self._claims.release([item.cache_key])
        self._queues[self._owners[item.cache_key]].elsewhere.append(item)

    def renew(self, items: Sequence[WorkItem], *, repair: bool = False) -> None:
        """Renew the claims on chunks that are requested again."""
        self._claims.renew([_claim_key(item.cache_key, repair=repair) for item in items])

    def refresh(self) -> None:
        """Read what other workers have answered and claimed, and take back the chunks of workers that have ended."""
        with self._claims.locked():
            self._journal.refresh()
        for queue in self._queues.values():
            still_open = [item for item in queue.elsewhere if item.cache_key not in self._journal]
            queue.elsewhere = [item for item in still_open if not self._is_free(item)]
            queue.free.extend(item for item in still_open if self._is_free(item))
            self._sort_out(queue)

    def _sort_out(self, queue: _ShardQueue) -> None:
        """Remove the chunks from `free` that were answered or claimed meanwhile. Looks at both ends only."""
        for end, remove in ((0, queue.free.popleft), (-1, queue.free.pop)):
            while queue.free:
                item = queue.free[end]
                if self._is_free(item):
                    break
                remove()
                if item.cache_key not in self._journal:
                    queue.elsewhere.append(item)

    def _remove(self, items: Collection[WorkItem]) -> None:
        """Remove chunks that this worker has claimed, which are at one end of their queue."""
        keys = {item.cache_key for item in items}
        for number in {self._owners[key] for key in keys}:
            queue = self._queues[number]
            for end, remove in ((0, queue.free.popleft), (-1, queue.free.pop)):
                while queue.free and queue.free[end].cache_key in keys:
                    remove()

    def _is_free(self, item: WorkItem) -> bool:
        key = item.cache_key
        return key not in self._journal and key not in self._given_up and self._claims.is_free(key)

    def _is_expected(self, item: WorkItem) -> bool:
        """Return whether another worker is about to answer the chunk, or this worker may still request it."""
        key = item.cache_key
        return key not in self._journal and not (key in self._given_up and self._claims.is_free(key))

    def _is_open(self, item: WorkItem, repair: bool) -> bool:
        return self._journal.is_repairable(item.cache_key) if repair else item.cache_key not in self._journal

    def _served_shards(self) -> list[int]:
        """Return the own shard, then the started shards with open chunks, the one with the most free chunks first."""
        started = self._claims.started_shards
        others = [number for number in self._queues if number != self._shard and number in started]
        return [self._shard, *sorted(others, key=lambda number: -len(self._queues[number].free))]


def _claim_key(cache_key: str, *, repair: bool) -> str:
    return f"repair:{cache_key}" if repair else cache_key
