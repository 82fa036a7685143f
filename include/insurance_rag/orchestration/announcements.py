"""Publishes what a task has made as the newest version of an asset, with facts such as rows, hashes and cost."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from insurance_rag.config import RunConfig
from insurance_rag.core.artifact_store.locations import local_path
from insurance_rag.core.hashing import sha256_file
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import AdapterArtifact, DatasetArtifact, DecisionArtifact, EvaluationArtifact
from insurance_rag.core.records.ingest import IngestArtifact
from insurance_rag.core.records.run import PublishedAdapters, PublishedChunks, PublishedDecision, RunArtifact
from insurance_rag.core.records.usage import RunUsage
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.adapters import named_adapters
from insurance_rag.orchestration.assets import ADAPTERS, CHUNKS, DECISION, publish
from insurance_rag.orchestration.run_inputs import OutletEvents


def announce_chunks(
    run: RunArtifact, config: RunConfig, ingested: IngestArtifact | None, events: OutletEvents | None
) -> None:
    """Publish the chunk file of a run. Does nothing outside a task, where there are no asset events.

    `ingested` describes the file if the run made it from documents.
    """
    from insurance_rag.chunks import chunk_file

    if events is None or CHUNKS not in events:
        return
    path, sha256, rows = str(chunk_file(config.chunks)), "", run.rows or 0
    if ingested:
        path, sha256, rows = ingested.uri, ingested.sha256, ingested.chunks
    record = PublishedChunks(
        uri=path,
        sha256=sha256 or sha256_file(local_path(path)),
        rows=rows,
        documents=[*config.documents],
        run=run.uri,
    )
    publish(CHUNKS, record, events)


def dataset_facts(folder: RunFolder, dataset: DatasetArtifact) -> dict[str, JsonValue]:
    """Return the facts about a dataset that only its asset event has: rows and cost of its generation."""
    facts: dict[str, JsonValue] = {"kept": dataset.kept, "rejected": dataset.rows - dataset.kept}
    if not folder.usage.is_file():
        return facts
    usage = read_record(folder.usage, RunUsage, "a usage summary", "run `generate` again")
    counts = usage.total.model_dump(include={"calls", "tokens_in", "tokens_out", "requests_429", "cost_usd"})
    return {**facts, "teacher": usage.model, **counts}


def announce_decision(decision: DecisionArtifact, evaluation: EvaluationArtifact, events: OutletEvents | None) -> None:
    """Publish the decision of the promotion gate. Does nothing outside a task, where there are no asset events."""
    if events is not None and DECISION in events:
        publish(DECISION, PublishedDecision(**decision.model_dump(), questions=evaluation.questions), events)


def announce_adapters(
    run: RunArtifact,
    config: RunConfig,
    base_model: str,
    adapters: Sequence[AdapterArtifact],
    events: OutletEvents | None,
) -> None:
    """Publish the adapters that a run trained, with the settings for the DAG that evaluates them on all questions.

    Does nothing if it trained none.
    """
    if events is None or not adapters:
        return
    named, made = named_adapters(config, adapters), {adapter.uri: adapter for adapter in adapters}
    settings: dict[str, JsonValue] = {
        **config.model_dump(mode="json", include={"chunks", "questions", "registry", "policy", "promotion"}),
        "base_model": base_model,
        "adapters": {**named},
        "question_limit": None,
    }
    record = PublishedAdapters(
        run=run.uri,
        base_model=base_model,
        adapters=named,
        sha256={name: made[uri].sha256 for name, uri in named.items() if uri in made},
        rows=max(adapter.rows for adapter in adapters),
        gpu_seconds=sum(adapter.seconds for adapter in adapters),
    )
    publish(ADAPTERS, record, events, settings=settings)
