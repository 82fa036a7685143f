"""Settings of the pods that run GPU jobs if $GPU_BACKEND is `kubernetes`.

The pod template holds what Kubernetes needs to know, `PodConfig` what Airflow needs to know. The pod runs the same
command line as the local process and mounts the artifacts at the same path.
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
        raise ValueError(f"expected key=value, not {', '.join(wrong)}")
    return dict(word.split("=", 1) for word in words)


class PodConfig(Config):
    """Settings of the pods, from environment variables: `GPU_POD_IMAGE` sets `image`, and so on."""

    template: Path = Path(__file__).with_name("pod_template.yaml")
    """Pod template: resources, tolerations, volumes, security. Copy the one in this package and edit the copy."""
    image: str | None = None
    """Image with the Dockerfile's target `gpu`; None uses the image of the template."""
    namespace: str | None = None
    """Namespace of the pods; None uses that of the connection, then the one that Airflow runs in."""
    artifacts_claim: str | None = None
    """PersistentVolumeClaim (ReadWriteMany) to mount at $ARTIFACT_ROOT; None if the template mounts a volume there."""
    secrets: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    """Kubernetes Secrets, comma separated, whose entries become variables of the job (HF_TOKEN, JUDGE_API_KEY ...)."""
    node_selector: Annotated[dict[str, str], BeforeValidator(_pairs)] = Field(default_factory=dict)
    """Labels of the nodes, `key=value,key=value`; added to those of the template."""
    connection: str = "kubernetes_default"
    """Airflow connection with the address of the cluster. If it does not exist, the cluster that Airflow runs in."""
    deferrable: bool = False
    """Wait in the triggerer and free the worker slot, which a job would hold for hours. Logs come every 30 seconds."""
    schedule_timeout_s: int = Field(default=1800, ge=1)
    """Longest wait for a node with a free GPU, in seconds; an autoscaler needs minutes."""
    startup_timeout_s: int = Field(default=1800, ge=1)
    """Longest time from the node to the running container, in seconds; the image has several GB to pull."""
    poll_s: int = Field(default=5, ge=1)
    """Seconds between two requests for the state of a pod."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> PodConfig:
        """Read the settings. Empty variables count as not set.

        Raises InvalidInputError with every variable that is unknown or cannot be read.
        """
        given = {k.removeprefix(PREFIX).lower(): v for k, v in environment.items() if k.startswith(PREFIX) and v}
        return cls.parse(given, f"environment variables {PREFIX}*")
