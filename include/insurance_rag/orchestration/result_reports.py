"""Operators that report their result: metrics to Airflow's statistics, and lineage to OpenLineage.

The OpenLineage provider is optional. It looks for the method `get_openlineage_facets_on_complete` of an operator.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_type_hints

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Context, XComArg
from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory
from pydantic import JsonValue, TypeAdapter, ValidationError

from insurance_rag.core.errors import PipelineError
from insurance_rag.core.record_files import first_problem
from insurance_rag.core.records import AdapterArtifact, Artifact, EvaluationArtifact
from insurance_rag.core.records.run import BaseModelArtifact
from insurance_rag.orchestration.operation_metrics import send_gpu_time, send_result

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

log = logging.getLogger(__name__)

RESULT_OF_COMMAND: dict[str, type[Artifact]] = {
    "pretrain": BaseModelArtifact,
    "train": AdapterArtifact,
    "evaluate": EvaluationArtifact,
}
"""GPU command -> record that its result is."""


class ReportsResult:
    """Mixin for operators. Call `report_result` once the result of the task is known."""

    dag_id: str
    task_id: str
    inlets: Sequence[object]
    outlets: Sequence[object]
    reported_result: object = None

    def report_result(self, result: object) -> None:
        """Send the metrics that belong to the result, and remember it for the lineage. Never fails the task."""
        self.reported_result = result
        try:
            send_result(result, self.dag_id, self.task_id)
        except (PipelineError, OSError) as e:
            log.warning("no metrics were sent about the result: %s", e)

    def lineage_arguments(self) -> list[str]:
        """Return the command line of the task, if it runs one. It names inputs that the result does not."""
        return []

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage:
        """Return what the task read and wrote. The OpenLineage provider calls this after a success."""
        from insurance_rag.orchestration.lineage import lineage_of
        from insurance_rag.orchestration.openlineage_facets import operator_lineage

        found = lineage_of(self.reported_result, self.lineage_arguments())
        return operator_lineage(found, self.inlets, self.outlets)

    def get_openlineage_facets_on_failure(self, task_instance: object) -> OperatorLineage:
        """Return an empty lineage, because a failed task has published nothing."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        return OperatorLineage()


class ReportsJob(ReportsResult):
    """Mixin for operators that run a GPU job as a command line."""

    arguments: list[str]

    def report_job(self, value: JsonValue) -> None:
        """Report the result of a command that ended with exit code 0."""
        if kind := RESULT_OF_COMMAND.get(self.arguments[0]):
            try:
                self.report_result(kind.model_validate(value))
            except ValidationError as e:
                log.warning("the result of %s has no lineage: %s", self.arguments[0], first_problem(e))

    @contextlib.contextmanager
    def counted_gpu_time(self) -> Iterator[None]:
        """Count the seconds until the block ends, with or without an error, as time of a GPU job."""
        started = time.monotonic()
        try:
            yield
        finally:
            send_gpu_time(self.dag_id, self.task_id, time.monotonic() - started)

    def lineage_arguments(self) -> list[str]:
        """Return the command line."""
        return self.arguments


class RecordTask(ReportsResult, DecoratedOperator, PythonOperator):
    """The operator of `@task` for functions that return records (see `xcom.with_records`)."""

    custom_operator_name = "@task"

    def __init__(self, *, python_callable: Callable[..., JsonValue], op_args: Any, op_kwargs: Any, **kwargs: Any):
        super().__init__(
            kwargs_to_upstream={"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs},
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            **kwargs,
        )

    def execute(self, context: Context) -> JsonValue:
        """Call the function and report its result."""
        value: JsonValue = super().execute(context)
        self.report_result(TypeAdapter(get_type_hints(self.python_callable)["return"]).validate_python(value))
        return value


def record_task(function: Callable[..., JsonValue], **settings: Any) -> Callable[..., XComArg]:
    """Turn a function that returns plain JSON for a record into a task. The result is a single XCom value."""
    return task_decorator_factory(
        python_callable=function, multiple_outputs=False, decorated_operator_class=RecordTask, **settings
    )
