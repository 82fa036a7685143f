"""GPU work in a pod: what `gpu_job` uses where $GPU_BACKEND is `kubernetes`.

What Kubernetes must know stands in the pod template, what Airflow must know in `PodConfig`. The pod runs the same
command line as the local process and mounts the artifacts at the same path, so nothing else changes.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from airflow.exceptions import AirflowException
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodNotFoundException
from airflow.sdk import Context
from kubernetes.client import ApiClient, ApiException, V1Pod
from pydantic import BeforeValidator, Field

from insurance_rag.config import Config
from insurance_rag.errors import Incomplete, WrongInput
from insurance_rag.orchestration.pod_errors import GONE, pod_error
from insurance_rag.orchestration.runs import artifact_root

PREFIX = "GPU_POD_"
RESULT_JSON = "/airflow/xcom/return.json"
#: Of the sidecar that hands over the result: what the "restricted" pod security standard asks for.
SIDECAR_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _words(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _pairs(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if wrong := [word for word in _words(value) if "=" not in word]:
        raise ValueError(f"want key=value, not {', '.join(wrong)}")
    return dict(word.split("=", 1) for word in _words(value))


class PodConfig(Config):
    """Pods of GPU jobs, from environment variables: `GPU_POD_IMAGE` sets `image`, and so on."""

    template: Path = Path(__file__).with_name("pod_template.yaml")
    """Pod template: resources, tolerations, volumes, security. Edit a copy of the one that ships with the project."""
    image: str | None = None
    """Of the Dockerfile's target `gpu`; None takes the template's."""
    namespace: str | None = None
    """None takes that of the connection, then Airflow's own in the cluster."""
    artifacts_claim: str | None = None
    """PersistentVolumeClaim (ReadWriteMany) mounted at $ARTIFACT_ROOT; None: the template mounts something there."""
    secrets: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Kubernetes Secrets, comma separated, whose entries the job sees as variables (HF_TOKEN, JUDGE_API_KEY, ...)."""
    node_selector: Annotated[dict[str, str], BeforeValidator(_pairs), Field(default_factory=dict)]
    """Labels of the nodes, `key=value,key=value`; added to the template's."""
    connection: str = "kubernetes_default"
    """Airflow connection with the cluster's address; without one the cluster that Airflow runs in."""
    deferrable: bool = False
    """Wait in the triggerer instead of holding a worker's slot for hours; logs then come every half minute."""
    schedule_timeout_s: int = Field(default=1800, ge=1)
    """How long to wait for a node with a free GPU (an autoscaler needs minutes)."""
    startup_timeout_s: int = Field(default=1800, ge=1)
    """From a node to a running container: the image has several GB to pull."""
    poll_s: int = Field(default=5, ge=1)
    """Between two looks at a pod."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> PodConfig:
        """WrongInput lists every variable that is unknown or cannot be read; an empty one counts as not set."""
        given = {k.removeprefix(PREFIX).lower(): v for k, v in environment.items() if k.startswith(PREFIX) and v}
        return cls.parse(given, f"environment variables {PREFIX}*")


def pod_operator(**settings: Any) -> Any:
    """The mapped operator's settings; the caller expands `arguments`."""
    config = PodConfig.from_environment()
    return PodJobOperator.partial(
        name=f"insurance-rag-{settings['task_id']}",
        full_pod_spec=pod_of(config, artifact_root()),
        cmds=["python", "-m", "insurance_rag"],
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
        **settings,
    )


def pod_of(config: PodConfig, root: Path) -> V1Pod:
    """The template with the settings put in; WrongInput says what is wrong with a template."""
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
        raise WrongInput(
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
        raise WrongInput(f"{where}: not a readable YAML file: {e}") from e
    except (ValueError, AttributeError, TypeError, LookupError) as e:  # what comes of missing fields and wrong types
        raise WrongInput(f"{where}: not a pod with a container: {e}") from e
    if first != KubernetesPodOperator.BASE_CONTAINER_NAME:
        raise WrongInput(f"{where}: the first container must be called `base`, not `{first}`")
    # The client drops a field that it does not know, and a typo with it.
    if dropped := list(_dropped(manifest, ApiClient().sanitize_for_serialization(pod), "")):
        raise WrongInput([f"{where}: unknown field {name}" for name in dropped])
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


class PodJobOperator(KubernetesPodOperator):
    """A pod whose failure raises the error of its cause, so that the retry table judges it as it judges a process."""

    def execute(self, context: Context) -> Any:
        self.log.info("The same by hand: %s", shlex.join([*self.cmds, *self.arguments]))
        return super().execute(context)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        try:
            return super().trigger_reentry(context, event)
        except PodNotFoundException as e:
            raise Incomplete(GONE) from e

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
