"""Reads the rows of a dataset folder as review items: the kept rows first, then those that a rule dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from insurance_rag.chunks import read_chunks
from insurance_rag.chunks.headings import chunk_header
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, read_jsonl
from insurance_rag.core.records import Chunk, QARow, RejectedRow, ValidationReport
from insurance_rag.core.records.generation import OTHER_CHUNK_ID
from insurance_rag.korean.text import clean
from insurance_rag.review.records import ReviewChunk, ReviewFinding, ReviewItem, row_key
from insurance_rag.validation.reviewed_rows import REVIEW_META, can_overrule

MERGED = "merged"
"""Prompt format whose files contain every kept row once, with its `meta`."""
SHOWN_META = ("model", "prompt_version", "form", "retriever_rank")
"""Fields of a row's `meta` that a reviewer sees."""


def read_row_items(dataset: DatasetFolder, chunk_file: Path | None = None) -> list[ReviewItem]:
    """Return the rows of a dataset as review items. Rows with the same content are one item.

    Without `chunk_file`, each row shows its own `input` as the chunk. Raises InvalidInputError if the folder is not a
    dataset.
    """
    report = dataset.read_report()
    chunks = {chunk.chunk_id: chunk for chunk in read_chunks(chunk_file)} if chunk_file else {}
    reader = _ItemReader(report, chunks)
    items: dict[str, ReviewItem] = {}
    for path in (dataset.training(MERGED), dataset.heldout(MERGED)):
        for row in _kept_rows(path):
            item = reader.item(row)
            items.setdefault(item.key, item)
    for reject in _rejected_rows(dataset.rejects):
        item = reader.rejected(reject)
        items.setdefault(item.key, item)
    return list(items.values())


class _ItemReader:
    """Turns rows into review items, with the titles of the rules and the labels of the shards from the report."""

    def __init__(self, report: ValidationReport, chunks: Mapping[str, Chunk]) -> None:
        self._rules = report.rules
        self._chunks = {chunk_id: _review_chunk(chunk) for chunk_id, chunk in chunks.items()}
        self._shards = {int(m[1]): label for label in report.by_shard if (m := re.match(r"shard (\d+)/", label))}
        self._only_shard = next(iter(report.by_shard), "") if len(report.by_shard) == 1 else ""

    def item(self, row: QARow) -> ReviewItem:
        """Return the item for a kept row."""
        meta = row.get("meta") or {}
        shard = meta.get("shard")
        label = self._shards.get(shard, "") if isinstance(shard, int) else ""
        findings = [self._finding(str(meta["repair_reason"]))] if meta.get("repaired") is True else []
        return self._item(row, shard=label or self._only_shard, findings=findings)

    def rejected(self, row: RejectedRow) -> ReviewItem:
        """Return the item for a row that was dropped."""
        item = self._item(row, shard=row["shard"], findings=[self._finding(row["reason"], row["span"])])
        return item.model_copy(update={"dropped": True, "approvable": can_overrule(row["reason"])})

    def _item(self, row: QARow, shard: str, findings: list[ReviewFinding]) -> ReviewItem:
        meta = row.get("meta") or {}
        own = self._chunks.get(row["chunk_id"])
        shown = [own or ReviewChunk(chunk_id=row["chunk_id"], text=row["input"])]
        if other := self._chunks.get(str(meta.get(OTHER_CHUNK_ID, ""))):
            shown.append(other)
        fields = {"question": row["instruction"], "answer": row["output"], "evidence": row["evidence"]}
        return ReviewItem(
            kind="row",
            key=_original_key(meta) or row_key(row["instruction"], row["output"], shown[0].text),
            fields=fields,
            type=row["type"],
            answerable=row["answerable"],
            shard=shard,
            findings=findings,
            chunks=shown,
            evidence=row["evidence"],
            facts={name: str(meta[name]) for name in SHOWN_META if meta.get(name) is not None},
        )

    def _finding(self, rule: str, span: str = "") -> ReviewFinding:
        info = self._rules.get(rule)
        title, title_ko = (info.title, info.title_ko) if info else ("", "")
        return ReviewFinding(rule=rule, title=title, title_ko=title_ko, span=span)


def _original_key(meta: Mapping[str, JsonValue]) -> str | None:
    """Return the key that an edited row had before it was edited, so that its decision is found."""
    review = meta.get(REVIEW_META)
    return str(review["key"]) if isinstance(review, dict) and "key" in review else None


def _review_chunk(chunk: Chunk) -> ReviewChunk:
    return ReviewChunk(chunk_id=chunk.chunk_id, header=chunk_header(chunk), text=clean(chunk.text))


def _kept_rows(path: Path) -> Iterator[QARow]:
    rows = read_json(path)
    if not isinstance(rows, list):
        raise InvalidInputError(f"{path}: not a training file of `validate`; make the dataset again")
    yield from rows


def _rejected_rows(path: Path) -> Iterator[RejectedRow]:
    yield from read_jsonl(path) if path.is_file() else ()
