"""A GPU job's pod from its template to its verdict; the half of `pods` that needs Kubernetes' client.

Its import costs seconds, which the DAG processor would pay again at every look at a DAG file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from airflow.exceptions import AirflowException
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodNotFoundException
from airflow.sdk import Context
from kubernetes.client import ApiClient, ApiException, V1Pod

from insurance_rag.core.errors import IncompleteError, InvalidInputError
from insurance_rag.orchestration.pod_errors import GONE, pod_error
from insurance_rag.orchestration.pods import PREFIX, PodConfig, PodJobOperator
from insurance_rag.orchestration.runs import artifact_root

COMMAND = ["python", "-m", "insurance_rag"]
RESULT_JSON = "/airflow/xcom/return.json"
#: Of the sidecar that hands over the result: what the "restricted" pod security standard asks for.
SIDECAR_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def pod_run(config: PodConfig, task: PodJobOperator) -> PodRun:
    return PodRun(
        task_id=task.task_id,
        arguments=task.arguments,
        execution_timeout=task.execution_timeout,
        name=f"insurance-rag-{task.task_id.lower().replace('_', '-')}",
        full_pod_spec=pod_of(config, artifact_root()),
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
        # A failed container's last lines become its termination message, and so the task's error.
        termination_message_policy="FallbackToLogsOnError",
        log_events_on_failure=True,
        log_pod_spec_on_failure=False,
        on_finish_action="delete_pod",
    )


def pod_of(config: PodConfig, root: Path) -> V1Pod:
    """The template with the settings put in; InvalidInputError says what is wrong with a template."""
    manifest = _read_template(config.template)
    spec, base = manifest["spec"], manifest["spec"]["containers"][0]
    if config.image:
        base["image"] = config.image
    if config.artifacts_claim:
        claim = {"claimName": config.artifacts_claim}
        _extend(spec, "volumes", {"name": "artifacts", "persistentVolumeClaim": claim})
        _extend(base, "volumeMounts", {"name": "artifacts", "mountPath": str(root)})
    spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **config.node_selector}
    _extend(base, "envFrom", *({"secretRef": {"name": name}} for name in config.secrets))
    # Weights that one pod downloads serve the next one.
    _extend(base, "env", {"name": "HF_HOME", "value": str(root / ".huggingface")})
    pod = PodGenerator.deserialize_model_dict(manifest)
    if not any(root.is_relative_to(mount.mount_path) for mount in pod.spec.containers[0].volume_mounts or []):
        raise InvalidInputError(
            f"GPU_BACKEND=kubernetes: nothing is mounted at ARTIFACT_ROOT ({root}), so a pod could not read its input: "
            f"name a ReadWriteMany claim in {PREFIX}ARTIFACTS_CLAIM, or mount a volume there in {config.template}"
        )
    return pod


def _extend(owner: dict[str, Any], key: str, *items: dict[str, Any]) -> None:
    owner[key] = [*(owner.get(key) or []), *items]


def _read_template(path: Path) -> dict[str, Any]:
    where = f"{PREFIX}TEMPLATE: {path}"
    try:
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        pod = PodGenerator.deserialize_model_dict(manifest)
        first = manifest["spec"]["containers"][0]["name"]
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as e:
        raise InvalidInputError(f"{where}: not a readable YAML file: {e}") from e
    except (ValueError, AttributeError, TypeError, LookupError) as e:  # what comes of missing fields and wrong types
        raise InvalidInputError(f"{where}: not a pod with a container: {e}") from e
    if first != KubernetesPodOperator.BASE_CONTAINER_NAME:
        raise InvalidInputError(f"{where}: the first container must be called `base`, not `{first}`")
    # The client drops a field that it does not know, and a typo with it.
    if dropped := list(_dropped(manifest, ApiClient().sanitize_for_serialization(pod), "")):
        raise InvalidInputError([f"{where}: unknown field {name}" for name in dropped])
    return dict(manifest)


def _dropped(given: Any, kept: Any, where: str) -> Iterator[str]:
    """Names of the fields with a value that are in `given` and not in `kept`."""
    if isinstance(given, dict):
        for key in (key for key, value in given.items() if value not in (None, {}, [])):
            name = f"{where}.{key}".lstrip(".")
            yield from _dropped(given[key], kept[key], name) if key in kept else [name]
    elif isinstance(given, list):
        for n, (item, kept_item) in enumerate(zip(given, kept, strict=True)):
            yield from _dropped(item, kept_item, f"{where}[{n}]")


class PodRun(KubernetesPodOperator):
    """A pod whose failure raises the error of its cause, so that the retry table judges it as it judges a process."""

    _result: Any = None

    def run(self, context: Context) -> Any:
        """`execute`, without Airflow's warning of an operator within an operator."""
        if not self.deferrable:
            return self.execute_sync(context)
        self.execute_async(context)  # defers, unless the pod of a lost worker is found again and has ended by now
        return self._result

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        try:
            self._result = super().trigger_reentry(context, event)
        except PodNotFoundException as e:
            raise IncompleteError(GONE) from e
        return self._result

    def cleanup(
        self, pod: V1Pod, remote_pod: V1Pod, xcom_result: dict[str, Any] | None = None, context: Context | None = None
    ) -> None:
        """Deletes the pod, and raises if it failed: by what the pod was at its end, which is read before."""
        last = None if self._killed else self._read(pod)
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowException as e:
            raise pod_error(last, self.arguments[0]) from e

    def _read(self, pod: V1Pod) -> V1Pod | None:
        """The pod as it is now; None if it is gone."""
        try:
            return self.pod_manager.read_pod(pod)
        except ApiException as e:
            if e.status != 404:
                raise
            return None
