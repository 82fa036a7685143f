"""Parts of a flow that two DAGs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import TriggerRule, task

from insurance_rag.orchestration import tasks
from insurance_rag.orchestration.generate_operator import GenerateOperator
from insurance_rag.orchestration.settings import GENERATE


def step(function: Callable[..., Any], **settings: Any) -> Any:
    """A plain function as a task: its result is one XCom, its docstring the task's documentation."""
    return task(multiple_outputs=False, doc_md=function.__doc__, **settings)(function)


def gate(function: Callable[..., bool], *, past_trigger_rules: bool = True, **settings: Any) -> Any:
    """A task that skips what follows where `function` says no; all of it, or just the next task."""
    return task.short_circuit(ignore_downstream_trigger_rules=past_trigger_rules, doc_md=function.__doc__, **settings)(
        function
    )


def make_dataset(run: Any) -> Any:
    """plan -> generate (a mapped task a key) -> what dead keys left over, on the healthy ones -> validate.

    A dead key's shard stays red; validate judges by plan and journals, so the run goes on where nothing is missing.
    """
    shards = step(tasks.plan)(run)
    parts = GenerateOperator.partial(task_id="generate", **GENERATE).expand(shard=shards)
    leftover = step(tasks.plan_redistributed, trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)(run)
    leftover_parts = GenerateOperator.partial(task_id="generate_redistributed", **GENERATE).expand(shard=leftover)
    dataset = step(tasks.validate, trigger_rule=TriggerRule.ALL_DONE)(run)
    parts >> leftover
    # Directly too: of a run that failed, "clear only failed" takes the shard and validate, not what lies between them.
    [parts, leftover_parts] >> dataset
    return dataset
