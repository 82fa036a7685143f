"""The list of the batches that a shard has submitted to batch mode and not yet fetched.

A batch is entered before it is submitted. After a crash, it is found again on the server by its display name, so that
its chunks are not paid for twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pydantic import TypeAdapter, ValidationError

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.record_files import first_problem
from insurance_rag.core.records import Record
from insurance_rag.core.run_folder import RunFolder


class SubmittedBatch(Record):
    """A batch that a shard has submitted, or was about to submit when its process ended."""

    display_name: str
    cache_keys: list[str]


_BATCHES: TypeAdapter[list[SubmittedBatch]] = TypeAdapter(list[SubmittedBatch])


def read_submitted(run: RunFolder, shard: int) -> list[SubmittedBatch]:
    """Return the batches in the list, in the order of their submission. Raises InvalidInputError if it is damaged."""
    path = run.batches(shard)
    try:
        return _BATCHES.validate_python(read_json(path)) if path.exists() else []
    except ValidationError as e:
        raise InvalidInputError(
            f"{path}: not a list of submitted batches ({first_problem(e)}); restore the file, or remove it to submit "
            "its chunks again (they are then paid for again)"
        ) from None


def write_submitted(run: RunFolder, shard: int, batches: Sequence[SubmittedBatch]) -> None:
    """Replace the list."""
    write_json(run.batches(shard), [batch.model_dump(mode="json") for batch in batches])


def forget_ended(run: RunFolder, shard: int, display_names: Collection[str]) -> None:
    """Remove the batches that have ended from the list. Their open chunks may then be submitted again."""
    batches = [batch for batch in read_submitted(run, shard) if batch.display_name not in display_names]
    write_submitted(run, shard, batches)
