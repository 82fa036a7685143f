"""Settings of the pods that run GPU jobs if $GPU_BACKEND is `kubernetes`.

The pod template contains what Kubernetes needs to know, and `PodConfig` contains what Airflow needs to know. A pod runs
the same command line as a local process and mounts the artifacts at the same path as Airflow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from insurance_rag.core.config_base import Config

PREFIX = "GPU_POD_"


def _words(value: object) -> object:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _pairs(value: object) -> object:
    if not isinstance(value, str):
        return value
    words = [word.strip() for word in value.split(",") if word.strip()]
    if wrong := [word for word in words if "=" not in word]:
        raise ValueError(f"not of the form key=value: {', '.join(wrong)}; e.g. gpu=true")
    return dict(word.split("=", 1) for word in words)


class PodConfig(Config):
    """Settings of the pods, read from environment variables. For example, `GPU_POD_IMAGE` sets `image`."""

    template: Path = Path(__file__).with_name("pod_template.yaml")
    """Pod template with resources, tolerations, volumes and security. To change it, edit a copy of the default file."""
    image: str | None = None
    """Container image, built from the Dockerfile target `gpu`; None uses the image of the template."""
    namespace: str | None = None
    """Namespace of the pods; None uses the connection's namespace, or Airflow's own if the connection has none."""
    artifacts_claim: str | None = None
    """ReadWriteMany PersistentVolumeClaim to mount at $ARTIFACT_ROOT; None if the template mounts a volume there."""
    secrets: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Comma-separated Kubernetes Secrets. Their entries (HF_TOKEN, ...) become environment variables of the job."""
    node_selector: Annotated[dict[str, str], BeforeValidator(_pairs)] = Field(default_factory=dict)
    """Labels that a node must have, as `key=value,key=value`; added to the node selector of the template."""
    connection: str = "kubernetes_default"
    """Airflow connection to the cluster. If it does not exist, the pods run in the cluster that Airflow runs in."""
    deferrable: bool = False
    """Whether to wait for the pod in the triggerer, which frees the worker slot. Log lines then arrive every 30 s."""
    schedule_timeout_s: int = Field(default=1800, ge=1)
    """Maximum wait for a node with a free GPU, in seconds. An autoscaler needs minutes to add a node."""
    startup_timeout_s: int = Field(default=1800, ge=1)
    """Maximum time to start the container on its node, in seconds. This includes pulling the image (several GB)."""
    poll_s: int = Field(default=5, ge=1)
    """Seconds between two requests for the state of the pod."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> PodConfig:
        """Read the settings from environment variables. Empty variables count as not set.

        Raises an InvalidInputError that lists every unknown variable and every invalid value.
        """
        given = {k.removeprefix(PREFIX).lower(): v for k, v in environment.items() if k.startswith(PREFIX) and v}
        return cls.parse(given, f"environment variables {PREFIX}*")
