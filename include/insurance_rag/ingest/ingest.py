"""Turn documents into a chunk file with its manifest, its report, and the difference from the previous edition."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from insurance_rag import __version__
from insurance_rag.chunks import read_chunks
from insurance_rag.config.ingest import IngestConfig
from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.artifacts import describe
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import write_json, write_jsonl
from insurance_rag.core.hashing import sha256_file, sha256_text
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records.ingest import EditionChanges, IngestArtifact, IngestedDocument, IngestManifest
from insurance_rag.ingest.build import mark_duplicates
from insurance_rag.ingest.editions import compare_editions
from insurance_rag.ingest.read import ReadDocument, Result, read_source
from insurance_rag.ingest.report import write_report
from insurance_rag.ingest.sources import Source, Sources, find_sources

log = logging.getLogger(__name__)

VERSION = f"{__version__}/1"
"""Version of the division into chunks. Documents are read again if it differs from that of the manifest."""
INGEST_AGAIN = "run `ingest` again"


def ingest_documents(
    documents: Sequence[Path], out: Path, config: IngestConfig, previous: Path | None = None
) -> IngestArtifact:
    """Read the documents and write their chunks to `out`, with the report and the manifest next to it.

    `previous` is the chunk file of the previous edition, with which the chunks are compared. If neither the documents
    nor the settings have changed since `out` was written, nothing is read.

    Raises an InvalidInputError that lists all problems. Documents without problems are written nevertheless; `out` is
    left as it is if there are none.
    """
    found = find_sources(documents, config, out)
    old = read_chunks(previous) if previous else None
    inputs = _inputs_hash(found, config, previous, out)
    if not found.problems and (reused := _reusable(out, inputs)):
        return reused
    read, problems = _read_all(found.sources, config)
    problems = [*found.problems, *problems]
    if not read:
        raise InvalidInputError(problems)
    chunks = mark_duplicates([chunk for document in read for chunk in document.chunks])
    changes = compare_editions(old, chunks) if old is not None else None
    manifest_inputs = inputs if not problems else ""  # an incomplete result is never reused
    result = Result(tuple(read), tuple(chunks), tuple(old or ()), changes, found.warnings)
    artifact = _write(out, result, manifest_inputs, config)
    if problems:
        raise InvalidInputError(
            [*problems, f"{out}: contains only the other {len(read)} documents; run the same command again afterwards"]
        )
    return artifact


def paths_next_to(out: Path) -> tuple[Path, Path, Path]:
    """Return the paths of the manifest, the report and the changes that belong to a chunk file."""
    return out.with_suffix(".documents.json"), out.with_suffix(".report.html"), out.with_suffix(".changes.json")


def _inputs_hash(found: Sources, config: IngestConfig, previous: Path | None, out: Path) -> str:
    """Return a hash of everything that determines the result."""
    edition = "" if previous is None else "itself" if previous.resolve() == out.resolve() else sha256_file(previous)
    documents = [f"{s.name} {s.sha256} {s.settings.model_dump_json()}" for s in found.sources]
    return sha256_text(VERSION, config.model_dump_json(), edition, *documents, *found.warnings)


def _reusable(out: Path, inputs: str) -> IngestArtifact | None:
    """Return the artifact of an earlier run with the same inputs, if its files are still there."""
    manifest_path, report, changes_path = paths_next_to(out)
    if not (out.is_file() and manifest_path.is_file() and report.is_file()):
        return None
    try:
        manifest = read_record(manifest_path, IngestManifest, "a manifest of `ingest`", INGEST_AGAIN)
        changes = _read_changes(changes_path) if manifest.has_changes else None
    except InvalidInputError:
        return None
    if manifest.inputs_sha256 != inputs or manifest.chunks_sha256 != sha256_file(out):
        return None
    log.info("%s: documents and settings have not changed; nothing was read", out)
    return _artifact(out, manifest, changes, reused=True)


def _read_changes(path: Path) -> EditionChanges:
    return read_record(path, EditionChanges, "a comparison of editions", INGEST_AGAIN)


def _read_all(sources: Sequence[Source], config: IngestConfig) -> tuple[list[ReadDocument], list[str]]:
    """Return the documents that could be read, and the problems of the others."""
    read: list[ReadDocument] = []
    problems: list[str] = []
    for n, source in enumerate(sources, 1):
        try:
            document = read_source(source, config)
        except InvalidInputError as e:
            problems += e.problems
            continue
        record = document.record
        log.info(
            "%d/%d %s: %d chunks from %d articles, %.1f%% of the text",
            n, len(sources), source.name, record.chunks, record.articles, 100 * record.coverage,
        )  # fmt: skip
        read.append(document)
    clashes = _same_ids(read)
    problems += [_clash_problem(name, [d.source.path for d in clashing]) for name, clashing in clashes.items()]
    return [document for document in read if document.record.id not in clashes], problems


def _same_ids(read: Iterable[ReadDocument]) -> dict[str, list[ReadDocument]]:
    by_id: dict[str, list[ReadDocument]] = {}
    for document in read:
        by_id.setdefault(document.record.id, []).append(document)
    return {name: clashing for name, clashing in by_id.items() if len(clashing) > 1}


def _clash_problem(name: str, paths: Sequence[Path]) -> str:
    return (
        f"{' and '.join(map(str, paths))}: would get the same chunk ids, because the id of each is {name!r}; remove "
        "the older edition, or give each an id of its own with --id (one document) or `id` in documents.yaml"
    )


def _write(out: Path, result: Result, inputs: str, config: IngestConfig) -> IngestArtifact:
    """Write the chunk file and the files that belong to it. The manifest is written last."""
    manifest_path, report, changes_path = paths_next_to(out)
    manifest_path.unlink(missing_ok=True)
    write_jsonl(out, (chunk.model_dump(mode="json") for chunk in result.chunks))
    if result.changes:
        write_json(changes_path, result.changes.model_dump(mode="json"))
    else:
        changes_path.unlink(missing_ok=True)
    write_report(report, result, config)
    manifest = IngestManifest(
        version=VERSION,
        chunks_sha256=sha256_file(out),
        inputs_sha256=inputs,
        has_changes=result.changes is not None,
        settings=config.model_dump(mode="json"),
        documents=[document.record for document in result.documents],
        warnings=[*result.warnings],
    )
    write_json(manifest_path, manifest.model_dump(mode="json"))
    return _artifact(out, manifest, result.changes, reused=False)


def _artifact(out: Path, manifest: IngestManifest, changes: EditionChanges | None, reused: bool) -> IngestArtifact:
    return describe(
        out,
        IngestArtifact,
        documents=len(manifest.documents),
        chunks=sum(document.chunks for document in manifest.documents),
        coverage=_coverage(manifest.documents),
        changes=changes.counts if changes else None,
        warnings=[*manifest.warnings, *(f"{d.source}: {w}" for d in manifest.documents for w in d.warnings)],
        report=public_uri(paths_next_to(out)[1]),
        reused=reused,
    )


def _coverage(documents: Sequence[IngestedDocument]) -> float:
    characters = sum(document.characters for document in documents)
    return round(sum(d.coverage * d.characters for d in documents) / characters, 4) if characters else 1.0
