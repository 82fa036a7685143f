"""The functions that the DAGs' tasks run. They call the pipeline stages, and take and return records.

A task gets the results of earlier tasks as arguments. It reads everything else from the run folder. A cleared task
therefore does the same work on the same input. Airflow shows the docstring of each function as the documentation of
its task.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException
from pydantic import JsonValue

from insurance_rag.config import RunConfig
from insurance_rag.core.artifact_store.locations import public_value
from insurance_rag.core.artifacts import describe
from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.core.files import write_json
from insurance_rag.core.record_files import read_record
from insurance_rag.core.records import (
    AdapterArtifact,
    Chunk,
    DatasetArtifact,
    DecisionArtifact,
    EvaluationArtifact,
    EvaluationSummary,
    GenerationEstimate,
    Shard,
)
from insurance_rag.core.records.run import (
    BaseModelArtifact,
    EvaluationJob,
    PretrainJob,
    PublishedDataset,
    RunArtifact,
    ShardArtifact,
    TrainingJob,
)
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.adapters import adapter_jobs, named_adapters
from insurance_rag.orchestration.announcements import announce_adapters, announce_decision, dataset_facts
from insurance_rag.orchestration.artifact_parts import localized, named_artifacts
from insurance_rag.orchestration.assets import publish_dataset, published_dataset, published_report
from insurance_rag.orchestration.commands import log_command
from insurance_rag.orchestration.run_inputs import AssetEvents, OutletEvents, open_run
from insurance_rag.orchestration.run_request import requested_config
from insurance_rag.orchestration.runs import earlier_runs, reviews_folder, run_folder

log = logging.getLogger(__name__)


def check_input(
    params: Mapping[str, JsonValue] | None = None,
    triggering_asset_events: AssetEvents | None = None,
    *,
    asks: bool = True,
) -> RunArtifact:
    """Check everything that can be checked before the run costs anything: chunks, questions, keys, recipes, models.

    All problems are listed at once. The checked configuration is stored in the run folder. If an asset event started
    the run, the settings in the event override the parameters. The log shows warnings, and what generating all pairs
    would cost if no answer could be reused. If the run starts from documents, later tasks check chunks and questions.
    With `asks=False`, the run needs no evaluation questions.
    """
    from insurance_rag.orchestration.preflight import validate_run_config, warnings_of

    context = get_current_context()
    form = params or {}
    config = requested_config(form, context, triggering_asset_events, asks=asks)
    dag_run = context["dag_run"]
    run = run_folder(dag_run.dag_id, dag_run.run_id).create()
    generates = "keys" in form
    with named_artifacts([], config.model_dump(mode="json"), of_run=run.root):
        config = localized(config)
        if problems := validate_run_config(config, generates=generates, compares="base_model" in form, asks=asks):
            raise InvalidInputError(problems)
        for warning in warnings_of(config, generates=generates):
            log.warning("%s", warning)
        facts = _input_facts(config, estimated=generates and asks, asks=asks)
    write_json(run.config, public_value(config.model_dump(mode="json")))
    return describe(run.config, RunArtifact, **facts).model_copy(update={"uri": str(run.root)})


def _input_facts(config: RunConfig, *, estimated: bool, asks: bool) -> dict[str, object]:
    """Return the size of the input and the estimate, as far as they are known before documents are read."""
    from insurance_rag.chunks import read_chunks, read_questions

    if config.documents:
        return {"rows": None, "questions": None}
    chunks = read_chunks(config.chunks)
    return {
        "rows": len(chunks),
        "questions": len(read_questions(config.questions)) if asks and not config.make_questions else None,
        "estimate": _full_estimate(config, chunks) if estimated and not config.dataset else None,
    }


def plan(run: RunArtifact) -> list[ShardArtifact]:
    """Divide the chunks into one shard per API key, with every chunk in exactly one shard.

    Answers for unchanged chunks are reused from earlier runs. The log shows what the missing answers are expected to
    cost. A run that uses an existing dataset has no shards.
    """
    from insurance_rag.chunks import read_chunks
    from insurance_rag.generation.estimate import describe_estimate, write_estimate
    from insurance_rag.orchestration.gemini_hook import connection_keys
    from insurance_rag.planning import make_plan, reuse_answers, write_plan

    folder, config = open_run(run)
    if config.dataset:
        return []
    chunks = read_chunks(config.chunks)
    made = make_plan(chunks, connection_keys(config.keys), config.generation)
    stored = write_plan(made, folder, chunks)
    if config.reuse_answers:
        stored = reuse_answers(folder, earlier_runs(folder))
    log.info("estimate: %s", describe_estimate(write_estimate(folder, stored)))
    paths = ["--chunks", config.chunks, "--keys", "keys.json", "--out", str(folder.root)]
    log_command("plan", *paths, *config.generation.as_settings())
    return _shard_artifacts(folder, made.shards)


def plan_redistributed(run: RunArtifact) -> list[ShardArtifact]:
    """Return the shards of healthy keys, to run again, if chunks are missing because other keys died."""
    from insurance_rag import planning
    from insurance_rag.orchestration.gemini_hook import connection_keys

    folder, config = open_run(run)
    if config.dataset or not config.generation.redistribute:
        return []
    return _shard_artifacts(folder, planning.plan_redistributed(folder, connection_keys(config.keys)))


def validate(run: RunArtifact | None) -> DatasetArtifact:
    """Check and merge the parts. The plan and the journals, not task states, show whether the parts are complete."""
    from insurance_rag.chunks import read_questions
    from insurance_rag.validation.validate_run import validate_run

    folder, config = open_run(run)
    if config.dataset:
        return _given_dataset(Path(config.dataset))
    previous = published_report()
    log_command(
        "validate", "--run", str(folder.root), "--questions", config.questions, "--out", str(folder.dataset),
        *(["--previous", str(previous)] if previous else []),
        *(["--allow-partial"] if config.allow_partial else []),
        "--reviews", str(reviews_folder()),
        *config.validation.as_settings(),
    )  # fmt: skip
    questions = read_questions(config.questions)
    try:
        return validate_run(
            folder, questions, config.validation, config.allow_partial, previous, reviews=reviews_folder()
        )
    except IncompleteError as e:  # retrying only this task would not add the missing answers
        raise AirflowFailException(
            f'{e}\nTo generate the missing answers, clear the failed tasks ("Clear only failed")'
        ) from None


def dataset_changed(dataset: DatasetArtifact) -> bool:
    """Return whether the dataset is complete and differs from the published dataset. If not, the run ends here."""
    published = published_dataset()
    before = published.data_sha256 if published else None
    log.info("hash of the published rows: %s; of the new rows: %s", before, dataset.data_sha256)
    return dataset.complete and dataset.data_sha256 != before


def wants_approval(run: RunArtifact) -> bool:
    """Return whether a person has to approve the dataset or the questions before they are published."""
    return open_run(run)[1].approve


def publish(run: RunArtifact, dataset: DatasetArtifact, outlet_events: OutletEvents | None = None) -> PublishedDataset:
    """Publish the dataset, which starts the DAGs that train on it."""
    folder, config = open_run(run)
    settings: JsonValue = {
        "documents": [],
        "make_questions": False,
        "dataset": dataset.uri,
        "chunks": config.chunks,
        "questions": config.questions,
    }
    facts = dataset_facts(folder, dataset)
    return publish_dataset(run, dataset, config, outlet_events, settings=settings, **facts)


def pretrain_jobs(run: RunArtifact) -> list[PretrainJob]:
    """Return one job if the run trains the demo's own base model, otherwise no job."""
    folder, config = open_run(run)
    return [PretrainJob(uri=str(folder.base_model), chunks=config.chunks)] if config.base_model == "demo" else []


def training_jobs(
    run: RunArtifact, dataset: DatasetArtifact, base_models: Sequence[BaseModelArtifact] = ()
) -> list[TrainingJob]:
    """Return one job per adapter version and seed, so that seeds can run in parallel and be retried one by one.

    `base_models` has the result of `pretrain`, or is empty if it was skipped.
    """
    folder, config = open_run(run)
    return list(adapter_jobs(folder, config, dataset.uri, _base_model(config, base_models)))


def evaluation_jobs(
    run: RunArtifact,
    adapters: Sequence[AdapterArtifact] = (),
    base_models: Sequence[BaseModelArtifact] = (),
) -> list[EvaluationJob]:
    """Return one job that answers every question with the base model, the registry's champion and each adapter.

    `adapters` are the results of `train`, in any order. If the configuration names adapters, those are used instead.
    """
    from insurance_rag.promotion.model_registry import ModelRegistry

    folder, config = open_run(run)
    named = named_adapters(config, adapters)
    job = EvaluationJob(
        uri=str(folder.evaluation),
        chunks=config.chunks,
        questions=config.questions,
        limit=config.question_limit,
        base_model=_base_model(config, base_models),
        adapters=ModelRegistry(Path(config.registry)).with_champion(named) if config.registry else named,
        settings=config.evaluation.as_settings(),
    )
    return [job]


def promote(
    run: RunArtifact,
    evaluations: Sequence[EvaluationArtifact],
    adapters: Sequence[AdapterArtifact] = (),
    outlet_events: OutletEvents | None = None,
) -> DecisionArtifact:
    """Decide by the promotion policy whether an adapter replaces the champion. A rejection does not fail the task.

    The registry changes only if all questions were evaluated. Asset events announce the decision and, in the DAG that
    trains adapters, the new adapters.
    """
    from insurance_rag.promotion import decide
    from insurance_rag.promotion.policy import load_policy

    (evaluation,) = evaluations
    _, config = open_run(run)
    policy = load_policy(Path(config.policy) if config.policy else None, config.promotion, "promotion")
    registry = Path(config.registry) if config.registry else None
    dry_run = config.question_limit is not None
    options = ["--registry", str(registry), *["--dry-run"] * dry_run] if registry else []
    policy_options = [*(["--policy", config.policy] if config.policy else []), *_settings(config.promotion)]
    log_command("promote", "--evaluation", str(evaluation.folder), *options, *policy_options)
    decision = decide(evaluation.folder, policy, registry, dry_run=dry_run)
    facts = {"decision": decision.decision, "model": decision.model, "champion": decision.champion}
    artifact = describe(evaluation.folder / "decision.json", DecisionArtifact, **facts, reason=decision.reason)
    announce_decision(artifact, evaluation, outlet_events)
    announce_adapters(run, config, read_summary(evaluation).base_model, adapters, outlet_events)
    return artifact


def report(run: RunArtifact, decision: DecisionArtifact) -> object:
    """Write the report about the run as one HTML page."""
    from insurance_rag.report import render_report

    folder, _ = open_run(run)
    log.info("decision: %s: %s", decision.decision, decision.reason)
    log_command("report", "--run", str(folder.root), "--out", str(folder.report))
    return render_report(folder, folder.report)


def _full_estimate(config: RunConfig, chunks: Sequence[Chunk]) -> GenerationEstimate:
    """Log and return the estimate for generating the pairs of all chunks."""
    from insurance_rag.generation.estimate import describe_estimate, estimate_corpus
    from insurance_rag.orchestration.gemini_hook import connection_keys
    from insurance_rag.planning import make_plan

    estimate = estimate_corpus(make_plan(chunks, connection_keys(config.keys), config.generation), chunks)
    log.info("if no answer could be reused: %s", describe_estimate(estimate))
    return estimate


def _settings(values: Mapping[str, JsonValue]) -> list[str]:
    """Return the command-line options that set `values`."""
    return [word for key, value in values.items() for word in ("--set", f"{key}={json.dumps(value)}")]


def read_summary(evaluation: EvaluationArtifact) -> EvaluationSummary:
    """Read the summary.json of a finished evaluation."""
    return read_record(evaluation.folder / "summary.json", EvaluationSummary, "a summary", "run `evaluate` again")


def _given_dataset(folder: Path) -> DatasetArtifact:
    """Return the artifact that describes a dataset from an earlier run."""
    made = DatasetFolder(folder).read_report()
    facts = {"rows": made.rows, "kept": made.kept, "files": made.files}
    return describe(folder, DatasetArtifact, **facts, data_sha256=made.lineage.data_sha256)


def _shard_artifacts(folder: RunFolder, shards: Sequence[Shard]) -> list[ShardArtifact]:
    return [
        describe(
            folder.plan,
            ShardArtifact,
            run=str(folder.root),
            shard=shard.shard,
            label=shard.label,
            key_id=shard.key_id,
            rows=len(shard.chunk_ids),
        )
        for shard in shards
    ]


def _base_model(config: RunConfig, trained: Sequence[BaseModelArtifact]) -> str:
    return trained[0].uri if trained else config.base_model
