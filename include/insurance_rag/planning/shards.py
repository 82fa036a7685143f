"""Divide chunks into shards in proportion to the keys' quotas, and check that each chunk is in exactly one shard."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import ApiKey, Shard
from insurance_rag.core.records.planning import PartitionCheck

MAX_LISTED_CHUNKS = 20


def make_shards(chunk_ids: Sequence[str], keys: Sequence[ApiKey], first_number: int = 1) -> list[Shard]:
    """Divide `chunk_ids` into contiguous slices, one per key, and return them as shards.

    Slices are proportional to the keys' quotas (see `quota_shares` and `slice_sizes`). A key whose slice would be empty
    gets no shard. Shard numbers start at `first_number`.
    """
    sizes = slice_sizes(len(chunk_ids), quota_shares(keys))
    used = [(key, size) for key, size in zip(keys, sizes, strict=True) if size]
    keys_in_pool = Counter(key.pool for key in keys)
    shards: list[Shard] = []
    start = 0
    for number, (key, size) in enumerate(used, first_number):
        shards.append(
            Shard(
                shard=number,
                of=first_number - 1 + len(used),
                key_id=key.id,
                pool=key.pool,
                share=1 / keys_in_pool[key.pool],
                chunk_ids=list(chunk_ids[start : start + size]),
                rpm=key.rpm,
                tpm=key.tpm,
                rpd=key.rpd,
            )
        )
        start += size
    return shards


def quota_shares(keys: Sequence[ApiKey]) -> list[float]:
    """Return the relative rate of each key: its project's quota divided by the number of keys in the project.

    The quota is rpm, tpm or rpd: the first of the three that is configured for every key. If none of them is, all
    projects count as equal.
    """
    keys_in_pool = Counter(key.pool for key in keys)
    configured = next((name for name in ("rpm", "tpm", "rpd") if all(getattr(key, name) for key in keys)), None)
    return [(getattr(key, configured) if configured else 1) / keys_in_pool[key.pool] for key in keys]


def slice_sizes(n: int, rates: Sequence[float]) -> list[int]:
    """Return the sizes of contiguous slices of `n` items, one per rate.

    If all rates are equal, each slice has ceil(n / len(rates)) items, except that the last slices may be shorter or
    empty. Otherwise the sizes are proportional to the rates and rounded with the largest remainder method.
    """
    if len(set(rates)) == 1:
        size = math.ceil(n / len(rates))
        return [max(0, min(size, n - i * size)) for i in range(len(rates))]
    exact = [n * rate / sum(rates) for rate in rates]
    sizes = [math.floor(x) for x in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda i: sizes[i] - exact[i])
    for i in by_remainder[: n - sum(sizes)]:
        sizes[i] += 1
    return sizes


def check_partition(chunk_ids: Iterable[str], shards: Iterable[Shard]) -> PartitionCheck:
    """Check that each of `chunk_ids` is in exactly one shard, and return the counts.

    Raises an InvalidInputError that lists chunks without a shard, unknown chunks, and chunks in several shards.
    """
    expected = set(chunk_ids)
    times = Counter(chunk_id for shard in shards for chunk_id in shard.chunk_ids)
    problems = [f"chunk {i!r} is in no shard" for i in sorted(expected - times.keys())]
    problems += [f"chunk {i!r} is in a shard but not in the chunk file" for i in sorted(times.keys() - expected)]
    problems += [f"chunk {i!r} is in {n} shards" for i, n in sorted(times.items()) if n > 1]
    if problems:
        head = "the plan does not have each chunk in exactly one shard; make the plan again"
        raise InvalidInputError([head, *problems[:MAX_LISTED_CHUNKS]])
    return PartitionCheck(
        chunks=len(expected),
        assigned=times.total(),
        each_in_exactly_one_shard=True,
        chunk_ids_sha256=hash_chunk_ids(expected),
    )


def hash_chunk_ids(chunk_ids: Iterable[str]) -> str:
    """Return a hash of the chunk ids. It does not depend on their order."""
    return sha256_text(*sorted(chunk_ids))
