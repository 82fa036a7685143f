"""Compare the chunks of two editions of the same documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from insurance_rag.core.records import Chunk
from insurance_rag.core.records.ingest import ChangedChunk, EditionChanges, MovedChunk
from insurance_rag.korean import remove_whitespace

SAME_CHUNK = 0.5
"""Minimum similarity at which a chunk with another id is the changed chunk, rather than a new one."""
GRAM = 3
LONG_GRAM = 10
MAX_PLACES = 50
"""An n-gram in more chunks than this is a standard phrase."""
CANDIDATES = 5
MIN_MOVED = 80
"""Minimum length of a body that is recognized in another part. Shorter ones, such as 준용규정, occur in many parts."""


def compare_editions(old: Sequence[Chunk], new: Sequence[Chunk]) -> EditionChanges:
    """Return which chunks were added, changed, moved, removed or left unchanged.

    A chunk is moved if its body is at another place, e.g. because articles in front of it were inserted. It is changed
    if its id is in both editions, or if a chunk with another id is similar.
    """
    before, after = {c.chunk_id: c for c in old}, {c.chunk_id: c for c in new}
    unchanged = [i for i in after if i in before and _text(after[i]) == _text(before[i])]
    same = set(unchanged)
    open_old = {i: c for i, c in before.items() if i not in same}
    open_new = {i: c for i, c in after.items() if i not in same}
    moved = [*_moved(open_old, open_new)]
    for move in moved:
        del open_old[move.old], open_new[move.new]
    changed = [*_changed(open_old, open_new)]
    for change in changed:
        del open_old[change.old], open_new[change.new]
    return EditionChanges(added=[*open_new], changed=changed, moved=moved, removed=[*open_old], unchanged=unchanged)


def _moved(old: dict[str, Chunk], new: dict[str, Chunk]) -> list[MovedChunk]:
    """Return the pairs of chunks with the same body and different ids."""
    by_body: dict[str, list[str]] = {}
    for i, chunk in old.items():
        by_body.setdefault(_body(chunk), []).append(i)
    found = []
    for i, chunk in new.items():
        body = _body(chunk)
        candidates = [j for j in by_body.get(body, []) if len(body) >= MIN_MOVED or _place(j) == _place(i)]
        if not candidates or i in candidates:  # with the same id, only the heading has changed
            continue
        place = next((old_id for old_id in candidates if _place(old_id) == _place(i)), candidates[0])
        by_body[body].remove(place)
        found.append(MovedChunk(old=place, new=i, same_heading=_text(old[place]) == _text(chunk)))
    return found


def _changed(old: dict[str, Chunk], new: dict[str, Chunk]) -> Iterator[ChangedChunk]:
    """Yield the pairs of chunks whose texts differ: first those with the same title, then the most similar ones."""
    grams_old = {i: _grams(chunk) for i, chunk in old.items()}
    grams_new = {i: _grams(chunk) for i, chunk in new.items()}
    left_old, left_new = dict.fromkeys(old), dict.fromkeys(new)
    pairs = [(i, i) for i in new if i in old and _title(old[i]) == _title(new[i])]
    similar = [(_jaccard(grams_old[a], grams_new[b]), a == b, a, b) for a, b in _candidates(old, new)]
    pairs += [(a, b) for score, _, a, b in sorted(similar, reverse=True) if score >= SAME_CHUNK]
    pairs += [(i, i) for i in new if i in old]
    for a, b in pairs:
        if a in left_old and b in left_new:
            del left_old[a], left_new[b]
            yield ChangedChunk(old=a, new=b, similarity=round(_jaccard(grams_old[a], grams_new[b]), 3))


def _candidates(old: dict[str, Chunk], new: dict[str, Chunk]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a document that have the most long character n-grams in common, a few per new chunk."""
    places: dict[tuple[str, str], list[str]] = {}
    for i, chunk in old.items():
        for gram in _long_grams(chunk):
            places.setdefault((_document(i), gram), []).append(i)
    for i, chunk in new.items():
        counts: Counter[str] = Counter()
        for gram in _long_grams(chunk):
            found = places.get((_document(i), gram), ())
            if len(found) <= MAX_PLACES:
                counts.update(found)
        yield from ((j, i) for j, _ in counts.most_common(CANDIDATES))


def _long_grams(chunk: Chunk) -> set[str]:
    text = _text(chunk)
    return {text[i : i + LONG_GRAM] for i in range(0, len(text) - LONG_GRAM + 1)}


def _text(chunk: Chunk) -> str:
    return remove_whitespace(chunk.text)


def _body(chunk: Chunk) -> str:
    """Return the text without the heading of the article, whose number may differ."""
    heading, _, body = chunk.text.partition("\n")
    return remove_whitespace(body if heading == _heading(chunk) and body else chunk.text)


def _heading(chunk: Chunk) -> str:
    return chunk.metadata.breadcrumbs.split(" > ")[-1]


def _title(chunk: Chunk) -> str:
    return str(getattr(chunk.metadata, "title", "") or _heading(chunk))


def _place(chunk_id: str) -> str:
    """Return document and part of an id."""
    return "/".join(chunk_id.split("/")[:2])


def _document(chunk_id: str) -> str:
    return chunk_id.split("/")[0]


def _grams(chunk: Chunk) -> frozenset[str]:
    text = _text(chunk)
    return frozenset(text[i : i + GRAM] for i in range(max(1, len(text) - GRAM + 1)))


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    common = len(a & b)
    return common / (len(a) + len(b) - common) if common else 0.0
