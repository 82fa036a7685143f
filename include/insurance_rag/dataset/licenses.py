"""Decides which licence the dataset card names."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from insurance_rag.config import ValidationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk


def with_license(config: ValidationConfig, chunks: Iterable[Chunk]) -> ValidationConfig:
    """Return the settings with the licence that all chunks name in `metadata.license`, if it is the same one.

    Rows quote the chunks, so the licence of the dataset must not contradict theirs, and that of some chunks is not the
    licence of all rows. A licence that is no identifier of the Hub is left out. Raises an InvalidInputError that names
    the licences and a chunk of each.
    """
    found: dict[str, str] = {}
    for chunk in chunks:
        found.setdefault(str((chunk.metadata.model_extra or {}).get("license") or ""), chunk.chunk_id)
    wanted = config.dataset.license
    if wanted and (other := {name: chunk_id for name, chunk_id in found.items() if name not in ("", wanted)}):
        raise InvalidInputError(
            [
                f"dataset.license: {wanted!r} contradicts metadata.license {name!r} of chunk {chunk_id!r}; use "
                f"dataset.license={name}, or leave out these chunks"
                for name, chunk_id in other.items()
            ]
        )
    if wanted or len(found) != 1 or "" in found:
        return config
    try:
        dataset = type(config.dataset).model_validate({**config.dataset.model_dump(), "license": next(iter(found))})
    except ValidationError:  # no identifier of the Hub, which would refuse the card
        return config
    return config.model_copy(update={"dataset": dataset})
