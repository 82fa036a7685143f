"""Airflow operator that runs GPU jobs in pods. Importing this module takes two seconds (Kubernetes client)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.exceptions import AirflowException
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodNotFoundException
from airflow.sdk import Context
from kubernetes.client import ApiException, V1Pod
from pydantic import JsonValue

from insurance_rag.core.errors import IncompleteError
from insurance_rag.orchestration.commands import log_command
from insurance_rag.orchestration.operation_metrics import send_gpu_time
from insurance_rag.orchestration.pod_config import PodConfig
from insurance_rag.orchestration.pod_errors import GONE, pod_error
from insurance_rag.orchestration.pod_spec import build_pod
from insurance_rag.orchestration.result_reports import ReportsJob
from insurance_rag.orchestration.runs import artifact_root
from insurance_rag.orchestration.task_errors import message_only

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMAND = ["python", "-m", "insurance_rag"]
RESULT_JSON = "/airflow/xcom/return.json"
#: Security settings of the sidecar that returns the result. The "restricted" pod security standard requires them.
SIDECAR_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


class PodJobOperator(ReportsJob, KubernetesPodOperator):
    """Runs `python -m insurance_rag <arguments>` in a pod and streams the pod's output into the task's log.

    If the pod fails, the task raises an error for the cause (see `pod_errors`), so that the retry policy treats pods
    and local processes alike. The pod settings (`PodConfig`) are read from the environment of the running task, because
    Airflow does not instantiate the operator of a mapped task when it parses a DAG file.
    """

    template_fields: Sequence[str] = ("arguments",)
    template_fields_renderers: Mapping[str, str] = {}

    def __init__(self, *, arguments: list[str], **kwargs: object) -> None:
        config = PodConfig.from_environment()
        super().__init__(
            arguments=arguments,
            full_pod_spec=build_pod(config, artifact_root()),
            cmds=COMMAND,
            env_vars={"RESULT_JSON": RESULT_JSON},
            do_xcom_push=True,
            xcom_sidecar_container_security_context=SIDECAR_SECURITY,
            kubernetes_conn_id=config.connection,
            namespace=config.namespace,
            deferrable=config.deferrable,
            logging_interval=30 if config.deferrable else None,
            schedule_timeout_seconds=config.schedule_timeout_s,
            startup_timeout_seconds=config.startup_timeout_s,
            startup_check_interval_seconds=config.poll_s,
            poll_interval=config.poll_s,
            # Kubernetes stores the last log lines of a failed container, and `pod_error` quotes these lines.
            termination_message_policy="FallbackToLogsOnError",
            log_events_on_failure=True,
            log_pod_spec_on_failure=False,
            on_finish_action="delete_pod",
            **kwargs,
        )
        self.name = f"insurance-rag-{self.task_id.lower().replace('_', '-')}"
        self._result: JsonValue = None

    @message_only
    def execute(self, context: Context) -> JsonValue:
        """Run the pod and return the result of the command."""
        log_command(*self.arguments, python="python")
        result = super().execute(context)
        # In deferrable mode, the parent class always returns None. If the pod ended before the task could defer, the
        # parent has called `trigger_reentry`, which has reported the result.
        if self.deferrable:
            return self._result
        self.report_job(result)
        return result

    @message_only
    def trigger_reentry(self, context: Context, event: dict[str, JsonValue]) -> JsonValue:
        """Continue after the triggerer has seen the pod end (deferrable mode)."""
        try:
            self._result = super().trigger_reentry(context, event)
        except PodNotFoundException as e:
            raise IncompleteError(GONE) from e
        self.report_job(self._result)
        return self._result

    def cleanup(
        self,
        pod: V1Pod,
        remote_pod: V1Pod,
        xcom_result: dict[str, JsonValue] | None = None,
        context: Context | None = None,
    ) -> None:
        """Read the last state of the pod and delete the pod. If the pod failed, raise the error for this state."""
        last = None if self._killed else self._read(pod)
        send_gpu_time(self.dag_id, self.task_id, _job_seconds(last))
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowException as e:
            raise pod_error(last, self.arguments[0]) from e

    def _read(self, pod: V1Pod) -> V1Pod | None:
        """Return the current state of the pod, or None if the pod no longer exists."""
        try:
            return self.pod_manager.read_pod(pod)
        except ApiException as e:
            if e.status != 404:
                raise
            return None


def _job_seconds(pod: V1Pod | None) -> float:
    """Return how long the job of a pod ran; 0 if it did not start, or if the state of the pod is unknown."""
    statuses = (pod.status.container_statuses or []) if pod else []
    ended = next((status.state.terminated for status in statuses if status.name == "base"), None)
    if ended is None or not (ended.started_at and ended.finished_at):
        return 0.0
    return float((ended.finished_at - ended.started_at).total_seconds())
