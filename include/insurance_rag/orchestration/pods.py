"""GPU work in a pod: what `gpu_job` uses where $GPU_BACKEND is `kubernetes`.

What Kubernetes must know stands in the pod template, what Airflow must know in `PodConfig`. The pod runs the same
command line as the local process and mounts the artifacts at the same path, so nothing else changes.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from airflow.sdk import BaseOperator, Context
from pydantic import BeforeValidator, Field

from insurance_rag.core.config_base import Config
from insurance_rag.orchestration.runs import artifact_root

PREFIX = "GPU_POD_"


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
        """InvalidInputError lists every variable that is unknown or cannot be read; an empty one counts as not set."""
        given = {k.removeprefix(PREFIX).lower(): v for k, v in environment.items() if k.startswith(PREFIX) and v}
        return cls.parse(given, f"environment variables {PREFIX}*")


class PodJobOperator(BaseOperator):
    """Runs `python -m insurance_rag <arguments>` in a pod, its output streamed into the task's log."""

    template_fields: Sequence[str] = ("arguments",)

    def __init__(self, *, arguments: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self._run: Any = None

    def execute(self, context: Context) -> Any:
        self.log.info("The same by hand: %s", shlex.join(["python", "-m", "insurance_rag", *self.arguments]))
        return self.prepare().run(context)

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """The triggerer saw the pod end (deferrable)."""
        return self.prepare().trigger_reentry(context, event)

    def on_kill(self) -> None:
        """Airflow stops the task: the pod gets SIGTERM, on which training saves a checkpoint."""
        if self._run:
            self._run.on_kill()

    def prepare(self) -> Any:
        from insurance_rag.orchestration.pod_runs import pod_run

        self._run = pod_run(PodConfig.from_environment(), self)
        return self._run


def check_pods() -> None:
    """InvalidInputError says what is wrong with settings and pod template, before a run costs anything."""
    from insurance_rag.orchestration.pod_runs import pod_of

    pod_of(PodConfig.from_environment(), artifact_root())
