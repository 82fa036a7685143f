"""Tasks made from plain functions, and the group of tasks that two DAGs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import TriggerRule, XComArg, task

from insurance_rag.orchestration import tasks
from insurance_rag.orchestration.generate_operator import GenerateOperator
from insurance_rag.orchestration.settings import GENERATE
from insurance_rag.orchestration.task_errors import message_only
from insurance_rag.orchestration.xcom import with_records


def as_task(function: Callable[..., object], **settings: Any) -> Callable[..., XComArg]:
    """Make a task of a plain function: its result is one XCom value, its docstring the documentation of the task.

    Parameters and result may be records; XCom carries them as plain JSON.
    """
    return task(multiple_outputs=False, doc_md=function.__doc__, **settings)(message_only(with_records(function)))


def short_circuit(
    function: Callable[..., bool], *, ignore_downstream_trigger_rules: bool = True, **settings: Any
) -> Callable[..., XComArg]:
    """Make a task that skips downstream tasks if `function` returns False.

    It skips all of them, or only the next one if `ignore_downstream_trigger_rules` is False.
    """
    return task.short_circuit(
        ignore_downstream_trigger_rules=ignore_downstream_trigger_rules, doc_md=function.__doc__, **settings
    )(message_only(with_records(function)))


def make_dataset(run: XComArg) -> XComArg:
    """Add the tasks plan, generate (one mapped task per API key), the same again for what dead keys left, and validate.

    The shard of a dead key stays failed. `validate` judges by the plan and the journals, not by task states, so the run
    continues if no answer is missing.
    """
    shards = as_task(tasks.plan)(run)
    parts = GenerateOperator.partial(task_id="generate", **GENERATE).expand(shard=shards)
    redistributed = as_task(tasks.plan_redistributed, trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)(run)
    more_parts = GenerateOperator.partial(task_id="generate_redistributed", **GENERATE).expand(shard=redistributed)
    dataset = as_task(tasks.validate, trigger_rule=TriggerRule.ALL_DONE)(run)
    parts >> redistributed
    # `parts` also directly: "clear only failed" then selects the shard and `validate`, not the tasks between them.
    [parts, more_parts] >> dataset
    return dataset
