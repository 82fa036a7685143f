"""Decides which licence the dataset card names."""

from __future__ import annotations

from collections.abc import Iterable

from insurance_rag.config import ValidationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.records import Chunk


def with_license(config: ValidationConfig, chunks: Iterable[Chunk]) -> ValidationConfig:
    """Return the settings with the licence that the chunks name in `metadata.license`, if they agree on one.

    Rows quote the chunks, so the licence of the dataset must not contradict theirs. Raises an InvalidInputError that
    names the licences and a chunk of each.
    """
    found: dict[str, str] = {}
    for chunk in chunks:
        if name := (chunk.metadata.model_extra or {}).get("license"):
            found.setdefault(str(name), chunk.chunk_id)
    wanted = config.dataset.license
    if wanted and (other := {name: chunk_id for name, chunk_id in found.items() if name != wanted}):
        raise InvalidInputError(
            [
                f"dataset.license: {wanted!r} contradicts metadata.license {name!r} of chunk {chunk_id!r}; use "
                f"dataset.license={name}, or leave out these chunks"
                for name, chunk_id in other.items()
            ]
        )
    if wanted or len(found) != 1:
        return config
    (only,) = found
    return config.model_copy(update={"dataset": config.dataset.model_copy(update={"license": only})})
