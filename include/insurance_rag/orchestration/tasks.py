"""The bodies of the DAG's tasks: plain functions around the stages. Each reads its run folder and returns artifacts.

Everything a task needs lies in the run folder, so that a cleared task does the same work again on the same input.
XCom carries `{uri, sha256, rows, ...}` alone.
"""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from insurance_rag.config import RunConfig
from insurance_rag.core.artifacts import artifact
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import ApiKey
from insurance_rag.core.run_folder import RunFolder
from insurance_rag.orchestration.assets import (
    ADAPTERS,
    QA_DATASET,
    publish_dataset,
    published_dataset,
    published_report,
)
from insurance_rag.orchestration.runs import earlier_runs, run_folder

log = logging.getLogger(__name__)


def check_input(params: dict[str, Any] | None = None, triggering_asset_events: Any = None) -> dict[str, Any]:
    """Check everything that can be checked before it costs: clauses, questions, keys, recipes, models, the folder.

    All problems are listed at once. The checked configuration is kept in the run folder. A run that an asset event
    started takes the settings that the event carries.
    """
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.orchestration.preflight import validate_run_config

    config = RunConfig.parse({**(params or {}), **event_settings(triggering_asset_events)}, "parameters")
    dag_run = get_current_context()["dag_run"]
    run = run_folder(dag_run.dag_id, dag_run.run_id).create()
    if problems := validate_run_config(config, generates="keys" in (params or {})):
        raise InvalidInputError(problems)
    write_json(run.config, config.model_dump(mode="json"))
    rows = len(read_chunks(config.chunks))
    return {**artifact(run.config, rows=rows, questions=len(read_questions(config.questions))), "uri": str(run.root)}


def plan(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut the clauses into one shard per API key; proves that each clause is in exactly one shard.

    Answers to unchanged clauses are taken over from earlier runs. With a finished dataset there is nothing to plan.
    """
    from insurance_rag.chunks import read_chunks
    from insurance_rag.planning import make_plan, reuse_answers, write_plan

    folder, config = open_run(run)
    if config.dataset:
        return []
    chunks = read_chunks(config.chunks)
    made = make_plan(chunks, connection_keys(config), config.generation)
    write_plan(made, folder, chunks)
    if config.reuse_answers:
        reuse_answers(folder, earlier_runs(folder))
    log_command(
        "plan",
        "--chunks",
        config.chunks,
        "--keys",
        "keys.json",
        "--out",
        str(folder.root),
        *config.generation.as_settings(),
    )
    return [_shard_artifact(run, shard) for shard in made.shards]


def plan_redistributed(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Plan again, over the healthy keys, the clauses that dead keys left over; none: the next step is skipped."""
    from insurance_rag import planning as shards

    folder, config = open_run(run)
    if config.dataset or not config.generation.redistribute:
        return []
    return [_shard_artifact(run, shard) for shard in shards.plan_redistributed(folder, connection_keys(config))]


def validate(run: dict[str, Any]) -> dict[str, Any]:
    """Check and merge the parts. Completeness is judged by plan and journals, not by task states."""
    from insurance_rag.chunks import read_chunks, read_questions
    from insurance_rag.generation import missing_chunks, write_open_parts
    from insurance_rag.planning.plan import read_plan
    from insurance_rag.validation import validate_parts

    folder, config = open_run(run)
    if config.dataset:
        return artifact(Path(config.dataset))
    missing = missing_chunks(folder)
    if missing and not config.allow_partial:
        raise AirflowFailException(_missing_message(missing))
    write_open_parts(folder, read_plan(folder))
    previous = published_report()
    log_command(
        "validate", "--run", str(folder.root), "--questions", config.questions, "--out", str(folder.dataset),
        *(["--previous", str(previous)] if previous else []),
        *config.validation.as_settings(),
    )  # fmt: skip
    dataset = validate_parts(
        [folder.parts],
        read_chunks(folder.chunks),
        folder.dataset,
        config.validation,
        questions=read_questions(config.questions),
        previous=previous,
        progress=folder.progress,
    )
    return {**dataset, "complete": not missing}


def dataset_changed(dataset: dict[str, Any]) -> bool:
    """Go on only where the dataset is complete and its rows differ from those of the published one."""
    published = published_dataset() or {}
    log.info("rows of the published dataset: %s, of this one: %s", published.get("data_sha256"), dataset["data_sha256"])
    return bool(dataset["complete"]) and dataset["data_sha256"] != published.get("data_sha256")


def wants_approval(run: dict[str, Any]) -> bool:
    """Whether a person is asked before the dataset is published."""
    return open_run(run)[1].approve


def publish(run: dict[str, Any], dataset: dict[str, Any], outlet_events: Any = None) -> dict[str, Any]:
    """Make the dataset the published one and tell its consumers."""
    config = open_run(run)[1]
    settings = {"dataset": dataset["uri"], "chunks": config.chunks, "questions": config.questions}
    published = publish_dataset(run, dataset)
    outlet_events[QA_DATASET].extra = {**published, "settings": settings}
    return published


def _missing_message(missing: dict[str, list[str]]) -> str:
    """`missing` maps a shard's label to the chunk ids it has no answer for."""
    lines = [f"{label}: {len(ids)} clauses, e.g. {', '.join(ids[:3])}" for label, ids in missing.items()]
    return "\n".join(["the dataset is not complete; clear the failed shards to ask for:", *lines])


def pretrain_jobs(run: dict[str, Any]) -> list[dict[str, Any]]:
    """One job where the base model is the demo's own, none otherwise."""
    folder, config = open_run(run)
    if config.base_model != "demo":
        return []
    return [{"uri": str(folder.base_model), "chunks": config.chunks}]


def training_jobs(run: dict[str, Any], dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """One job per adapter version."""
    folder, config = open_run(run)
    settings = [f"profile={config.profile}", *(f"{key}={value}" for key, value in config.training.items())]
    return [
        {
            "recipe": version,
            "uri": str(folder.adapter(version)),
            "dataset": dataset["uri"],
            "base_model": _base_model(folder, config),
            "settings": settings,
        }
        for version in config.versions
    ]


def evaluation_jobs(run: dict[str, Any]) -> list[dict[str, Any]]:
    """One job that answers every question with Base, the registry's champion and each adapter."""
    from insurance_rag.promotion.registry import Registry

    folder, config = open_run(run)
    adapters = _adapters(folder, config)
    return [
        {
            "uri": str(folder.evaluation),
            "chunks": config.chunks,
            "questions": config.questions,
            "limit": config.question_limit,
            "base_model": _base_model(folder, config),
            "adapters": Registry(Path(config.registry)).beside(adapters) if config.registry else adapters,
        }
    ]


def promote(run: dict[str, Any], outlet_events: Any = None) -> dict[str, Any]:
    """Decide by the policy whether an adapter may replace the champion; the decision is a result, not a failure.

    The registry gets a new champion only from an evaluation on all questions.
    """
    from insurance_rag.promotion import decide

    folder, config = open_run(run)
    registry = Path(config.registry) if config.registry else None
    dry_run = config.question_limit is not None
    keeping = ["--registry", str(registry), *["--dry-run"] * dry_run] if registry else []
    log_command("promote", "--evaluation", str(folder.evaluation), *keeping)
    decision = decide(folder.evaluation, registry=registry, dry_run=dry_run)
    if ADAPTERS in outlet_events:
        settings = {
            **config.model_dump(include={"chunks", "questions", "registry"}),
            "base_model": _base_model(folder, config),
            "adapters": _adapters(folder, config),
            "question_limit": None,
        }
        outlet_events[ADAPTERS].extra = {"run": run["uri"], "settings": settings}
    facts = {name: decision[name] for name in ("decision", "model", "champion", "reason")}
    return artifact(folder.evaluation / "decision.json", **facts)


def report(run: dict[str, Any]) -> dict[str, Any]:
    """Write the run's page from what is in its folder, however far the run got."""
    from insurance_rag.report import render_report

    folder, _ = open_run(run)
    log_command("report", "--run", str(folder.root), "--out", str(folder.report))
    return render_report(folder, folder.report)


def open_run(artifact: dict[str, Any] | None) -> tuple[RunFolder, RunConfig]:
    """The run folder and the configuration that `check_input` kept in it."""
    if artifact is None:
        raise AirflowFailException("check_input did not succeed; mend what it names and clear it")
    folder = RunFolder(Path(artifact.get("run", artifact["uri"])))
    return folder, RunConfig.parse(read_json(folder.config), str(folder.config))


def event_settings(triggering_asset_events: Any) -> dict[str, Any]:
    """The settings of the newest asset event that started this run; none for a run by hand or by schedule."""
    events = [event for events in (triggering_asset_events or {}).values() for event in events]
    return dict(max(events, key=lambda event: event.timestamp).extra["settings"]) if events else {}


def connection_keys(config: RunConfig) -> list[ApiKey]:
    from insurance_rag.orchestration.gemini_hook import GeminiHook

    return [GeminiHook(name).get_conn()[0] for name in config.keys]


def log_command(*argv: str) -> None:
    """Say how to do by hand what this task does."""
    log.info("The same by hand: %s", shlex.join([sys.executable, "-m", "insurance_rag", *argv]))


def _shard_artifact(run: dict[str, Any], shard: Any) -> dict[str, Any]:
    return {
        "run": run["uri"],
        "uri": str(RunFolder(Path(run["uri"])).plan),
        "label": shard.label,
        "shard": shard.shard,
        "key_id": shard.key_id,
        "rows": len(shard.chunk_ids),
    }


def _base_model(folder: RunFolder, config: RunConfig) -> str:
    return str(folder.base_model) if config.base_model == "demo" else config.base_model


def _adapters(folder: RunFolder, config: RunConfig) -> dict[str, str]:
    """What is compared, name -> folder: the adapters that are given, else those this run trains."""
    return config.adapters or {version: str(folder.adapter(version)) for version in config.versions}
