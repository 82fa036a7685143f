"""What each task read and wrote, as plain records. `openlineage_facets` turns them into OpenLineage's classes.

The facts come from the results of tasks and from manifests, so the lineage of a run can also be read later.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel

from insurance_rag.chunks import chunk_file, question_file
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.artifact_store.locations import local_path
from insurance_rag.core.artifacts import manifest_path
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import (
    AdapterArtifact,
    Artifact,
    Chunk,
    DatasetArtifact,
    DatasetManifest,
    DecisionArtifact,
    EvaluationArtifact,
    FormattedRow,
    QAPair,
    Question,
    ScoredAnswer,
    TrainingManifest,
    ValidationReport,
)
from insurance_rag.core.records.generation import PartArtifact, PartManifest
from insurance_rag.core.records.ingest import IngestArtifact, IngestManifest
from insurance_rag.core.records.promotion import Decision
from insurance_rag.core.records.questions import QuestionsArtifact
from insurance_rag.core.records.run import (
    BaseModelArtifact,
    PublishedDataset,
    PublishedQuestions,
    QuestionSetArtifact,
    ShardArtifact,
)
from insurance_rag.core.records.usage import RunUsage, Usage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.run_inputs import open_run

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class LineageData:
    """One file, folder or model that a task read or wrote."""

    uri: str
    """Path or URI; for a base model from Hugging Face its name, e.g. `google/gemma-3-270m`."""
    kind: Literal["FILE", "MODEL"] = "FILE"
    rows: int | None = None
    sha256: str = ""
    row_type: type | None = None
    """Class of its rows, which is its schema."""
    validation: ValidationReport | None = None
    """Accepted and rejected rows of a dataset."""
    training: TrainingManifest | None = None
    """How an adapter was trained."""
    evaluation: EvaluationArtifact | None = None
    decision: Decision | None = None


@dataclass(frozen=True)
class TaskLineage:
    """What a task read, wrote and spent."""

    inputs: Sequence[LineageData] = ()
    outputs: Sequence[LineageData] = ()
    usage: Usage | None = None
    model: str = ""
    """Teacher that `usage` was spent on."""


@singledispatch
def lineage_of(result: object, arguments: Sequence[str] = ()) -> TaskLineage:
    """Return what the task with this result read and wrote. `arguments` is the command line of a GPU job.

    Raises InvalidInputError if a manifest is damaged. Results that describe no data have an empty lineage.
    """
    return TaskLineage()


@lineage_of.register
def _(result: IngestArtifact, arguments: Sequence[str] = ()) -> TaskLineage:
    from insurance_rag.ingest.ingest import paths_next_to

    chunks = LineageData(result.uri, rows=result.chunks, sha256=result.sha256, row_type=Chunk)
    manifest = _read_if_present(paths_next_to(local_path(result.uri))[0], IngestManifest)
    documents = [LineageData(doc.source, sha256=doc.sha256) for doc in manifest.documents] if manifest else []
    return TaskLineage(documents, [chunks])


@lineage_of.register(list)
def _(result: list[object], arguments: Sequence[str] = ()) -> TaskLineage:
    """Return the lineage of `plan`: it copies the chunks into the run folder and divides them into shards."""
    shards = [shard for shard in result if isinstance(shard, ShardArtifact)]
    if not shards:
        return TaskLineage()
    folder, config = open_run(shards[0])
    source = LineageData(str(chunk_file(config.chunks)), row_type=Chunk)
    rows = sum(shard.rows for shard in shards)
    plan = LineageData(shards[0].uri, sha256=shards[0].sha256)
    return TaskLineage([source], [LineageData(str(folder.chunks), rows=rows, row_type=Chunk), plan])


@lineage_of.register
def _(result: PartArtifact, arguments: Sequence[str] = ()) -> TaskLineage:
    part = LineageData(result.uri, rows=result.rows, sha256=result.sha256, row_type=QAPair)
    usage = Usage(**result.model_dump(include=set(Usage.model_fields)))
    of_run = _read_if_present(RunFolder(local_path(result.uri).parents[1]).usage, RunUsage)
    parents = _parents(_manifest(result, PartManifest), Chunk)
    return TaskLineage(parents, [part], usage, of_run.model if of_run else "")


@lineage_of.register
def _(result: DatasetArtifact, arguments: Sequence[str] = ()) -> TaskLineage:
    report = DatasetFolder(local_path(result.uri)).read_report()
    dataset = LineageData(result.uri, rows=result.kept, sha256=result.sha256, row_type=FormattedRow, validation=report)
    return TaskLineage(_parents(_manifest(result, DatasetManifest), QAPair, report), [dataset])


@lineage_of.register
def _(result: PublishedDataset, arguments: Sequence[str] = ()) -> TaskLineage:
    return TaskLineage([LineageData(result.uri, sha256=result.sha256, row_type=FormattedRow)])


@lineage_of.register
def _(result: QuestionSetArtifact | QuestionsArtifact, arguments: Sequence[str] = ()) -> TaskLineage:
    questions = LineageData(result.uri, rows=result.questions, sha256=result.sha256, row_type=Question)
    return TaskLineage(outputs=[questions])


@lineage_of.register
def _(result: PublishedQuestions, arguments: Sequence[str] = ()) -> TaskLineage:
    questions = LineageData(result.uri, rows=result.questions, sha256=result.sha256, row_type=Question)
    return TaskLineage([LineageData(str(chunk_file(result.chunks)), row_type=Chunk)], [questions])


@lineage_of.register
def _(result: BaseModelArtifact, arguments: Sequence[str] = ()) -> TaskLineage:
    model = LineageData(result.uri, "MODEL", sha256=result.sha256)
    return TaskLineage(_named_inputs(arguments), [model])


@lineage_of.register
def _(result: AdapterArtifact, arguments: Sequence[str] = ()) -> TaskLineage:
    manifest = AdapterFolder(local_path(result.uri)).read_manifest()
    adapter = LineageData(result.uri, "MODEL", sha256=result.sha256, training=manifest)
    if manifest is None:
        return TaskLineage(_named_inputs(arguments), [adapter])
    # The training file is part of a dataset folder, which is what `validate` wrote.
    dataset = LineageData(
        str(local_path(manifest.dataset.uri).parent), rows=manifest.dataset.rows, row_type=FormattedRow
    )
    replay = [LineageData(manifest.replay.uri, rows=manifest.replay.rows)] if manifest.replay else []
    return TaskLineage([dataset, *replay, LineageData(manifest.base_model, "MODEL")], [adapter])


@lineage_of.register
def _(result: EvaluationArtifact, arguments: Sequence[str] = ()) -> TaskLineage:
    answers = LineageData(result.uri, rows=result.rows, sha256=result.sha256, row_type=ScoredAnswer, evaluation=result)
    adapters = [LineageData(parent.uri, "MODEL", sha256=parent.sha256) for parent in result.parents]
    return TaskLineage([*adapters, *_named_inputs(arguments)], [answers])


@lineage_of.register
def _(result: DecisionArtifact, arguments: Sequence[str] = ()) -> TaskLineage:
    decision = read_record(local_path(result.uri), Decision, "a decision", "run `promote` again")
    answers = LineageData(
        str(local_path(decision.evaluation) / "answers.jsonl"), sha256=decision.answers_sha256, row_type=ScoredAnswer
    )
    return TaskLineage([answers], [LineageData(result.uri, sha256=result.sha256, decision=decision)])


def _manifest(result: Artifact, kind: type[M]) -> M | None:
    """Return the manifest next to an artifact; None if there is none."""
    return _read_if_present(manifest_path(local_path(result.uri)), kind)


def _read_if_present(path: Path, kind: type[M]) -> M | None:
    """Return the record in a file; None if there is no file."""
    what = f"a {kind.__name__}"
    return read_record(path, kind, what, "run the command that wrote it again") if path.is_file() else None


def _parents(
    manifest: PartManifest | DatasetManifest | None, row_type: type, validation: ValidationReport | None = None
) -> list[LineageData]:
    """Return the files that an artifact was made from. The first one carries what validation found in all of them."""
    parents = manifest.parents if manifest else []
    return [
        LineageData(parent.uri, sha256=parent.sha256, row_type=row_type, validation=None if i else validation)
        for i, parent in enumerate(parents)
    ]


def _named_inputs(arguments: Sequence[str]) -> list[LineageData]:
    """Return the inputs that the command line of a GPU job names."""
    given = dict(itertools.pairwise(arguments))
    found = []
    if chunks := given.get("--chunks"):
        found.append(LineageData(str(chunk_file(chunks)), row_type=Chunk))
    if questions := given.get("--questions"):
        found.append(LineageData(str(question_file(questions)), row_type=Question))
    if base_model := given.get("--base-model"):
        found.append(LineageData(base_model, "MODEL"))
    return found
