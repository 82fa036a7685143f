"""Turns plain functions into tasks, and defines the group of tasks that two DAGs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import TriggerRule, XComArg, task

from insurance_rag.orchestration import input_tasks, tasks
from insurance_rag.orchestration.artifact_parts import with_artifacts
from insurance_rag.orchestration.assets import CHUNKS
from insurance_rag.orchestration.generate_operator import GenerateOperator
from insurance_rag.orchestration.result_reports import record_task
from insurance_rag.orchestration.settings import GENERATE, watched_inlets
from insurance_rag.orchestration.task_errors import message_only
from insurance_rag.orchestration.xcom import with_records


def as_task(function: Callable[..., object], *, earlier_runs: bool = False, **settings: Any) -> Callable[..., XComArg]:
    """Turn a plain function into a task. Airflow shows the docstring of the function as the task's documentation.

    The function may take and return records; XCom carries them as plain JSON. The result is a single XCom value. Its
    metrics and lineage are reported (see `result_reports`). If the artifacts are in an object store, it works on local
    copies (see `artifact_parts`), with `earlier_runs` also on the answers of earlier runs.
    """
    wrapped = with_artifacts(with_records(function), earlier_runs=earlier_runs)
    return record_task(message_only(wrapped), doc_md=function.__doc__, **settings)


def short_circuit(
    function: Callable[..., bool], *, ignore_downstream_trigger_rules: bool = True, **settings: Any
) -> Callable[..., XComArg]:
    """Turn `function` into a task that skips downstream tasks if `function` returns False.

    With `ignore_downstream_trigger_rules`, all downstream tasks are skipped. Without it, only direct downstream tasks
    are skipped, and the trigger rules decide about the rest.
    """
    return task.short_circuit(
        ignore_downstream_trigger_rules=ignore_downstream_trigger_rules, doc_md=function.__doc__, **settings
    )(message_only(with_artifacts(with_records(function))))


def make_dataset(run: XComArg) -> XComArg:
    """Add the tasks that make the dataset: input, plan, generate (mapped over the API keys), redistribute and validate.

    The input is made by `ingest_documents` and `prepare_questions`, if the run starts from documents.

    While the tasks run, they answer chunks of slower and dead keys. `plan_redistributed` and `generate_redistributed`
    answer chunks that are missing when all of them have ended. The task of a dead key remains failed. The run still
    continues if no answer is missing, because `validate` looks at the plan and the journals instead of the task states.
    """
    shards = as_task(tasks.plan, earlier_runs=True, inlets=[CHUNKS])(run)
    (
        as_task(input_tasks.ingest_documents, inlets=watched_inlets(), outlets=[CHUNKS])(run)
        >> as_task(input_tasks.prepare_questions)(run)
        >> shards
    )
    parts = GenerateOperator.partial(task_id="generate", **GENERATE).expand(shard=shards)
    redistributed = as_task(tasks.plan_redistributed, trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)(run)
    more_parts = GenerateOperator.partial(task_id="generate_redistributed", **GENERATE).expand(shard=redistributed)
    dataset = as_task(tasks.validate, trigger_rule=TriggerRule.ALL_DONE)(run)
    parts >> redistributed
    # "Clear only failed" must select a failed shard and `validate`, but not the tasks between them. Therefore, `parts`
    # has a direct edge to `dataset`.
    [parts, more_parts] >> dataset
    return dataset
