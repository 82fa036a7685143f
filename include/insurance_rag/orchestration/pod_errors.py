"""Turns the state of a failed pod into an error that says why the pod failed and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insurance_rag.core.errors import (
    GpuMemoryError,
    IncompleteError,
    InvalidInputError,
    PipelineError,
    ServerUnavailableError,
)
from insurance_rag.orchestration.retries import ERROR_BY_EXIT_CODE

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

GONE = (
    "the pod no longer exists although its job had not ended: it was deleted by hand, or its node was removed. "
    "Finished work is kept, and the next try resumes"
)
EVICTION_HELP = (
    "The next try resumes. If this happens again, set the resource requests in the pod template to what the job uses, "
    "or give the pod a priority class"
)
#: Reasons that Kubernetes reports for a waiting container that cannot start until a person fixes the cause.
IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
CONFIG_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
#: 128 + SIGKILL and 128 + SIGTERM: exit codes of a container that was stopped from outside.
SIGNAL_EXITS = (137, 143)


def pod_error(pod: V1Pod | None, command: str) -> PipelineError:
    """Return the error for a failed pod that ran `command`.

    `pod` is the state that was last read from the cluster; None if the pod no longer exists.
    """
    if pod is None:
        return IncompleteError(f"{command}: {GONE}")
    return _disruption(pod, command) or _waiting(pod, command) or _ended(pod, command)


def _disruption(pod: V1Pod, command: str) -> PipelineError | None:
    """Return an error if the pod was evicted or preempted, or its node was drained or shut down."""
    conditions = [c for c in pod.status.conditions or [] if c.type == "DisruptionTarget" and c.status == "True"]
    if pod.status.reason != "Evicted" and not conditions:
        return None
    reason = pod.status.reason or conditions[0].reason
    message = pod.status.message or (conditions[0].message if conditions else "")
    return IncompleteError(f"{command}: the cluster stopped the pod ({reason}: {message}). {EVICTION_HELP}")


def _waiting(pod: V1Pod, command: str) -> PipelineError | None:
    """Return an error if a container cannot start, or if the whole pod is still pending."""
    for status in pod.status.container_statuses or []:
        waiting = status.state.waiting
        if waiting and waiting.reason in IMAGE_REASONS:
            return InvalidInputError(
                f"{command}: image {status.image or _image(pod, status.name)} of container {status.name!r} cannot be "
                f"pulled ({waiting.reason}: {waiting.message}). {_image_help(status.name)}, then clear this task"
            )
        if waiting and waiting.reason in CONFIG_REASONS:
            return InvalidInputError(
                f"{command}: the container cannot be created ({waiting.reason}: {waiting.message}). Check that the "
                "namespace has the Secrets listed in GPU_POD_SECRETS and everything that the pod template refers to, "
                "then clear this task"
            )
    if pod.status.phase != "Pending":
        return None
    why = [f"{c.reason}: {c.message}" for c in pod.status.conditions or [] if c.status != "True" and c.message]
    return ServerUnavailableError(
        f"{command}: the pod did not start in time ({'; '.join(why) or 'no reason given'}). The next try waits again; "
        "if no node fits, change the resources, tolerations or node selector (pod template, GPU_POD_NODE_SELECTOR), or "
        "allow more time (GPU_POD_SCHEDULE_TIMEOUT_S, GPU_POD_STARTUP_TIMEOUT_S)"
    )


def _ended(pod: V1Pod, command: str) -> PipelineError:
    """Return the error for a job that ended by itself, or whose pod was stopped at the time limit of the task."""
    statuses = {status.name: status for status in pod.status.container_statuses or []}
    ended = statuses["base"].state.terminated if "base" in statuses else None
    if ended is None:
        return IncompleteError(f"{command}: stopped at the time limit of the task. The next try resumes")
    last_lines = f":\n{ended.message.rstrip()}" if ended.message else ""
    if ended.reason == "OOMKilled":
        return GpuMemoryError(
            f"{command}: killed because the job exceeded the pod's memory limit ({_limit(pod)}; this is the node's "
            f"memory, not the GPU's). Raise the limit in the pod template, then clear this task; finished work is kept"
            f"{last_lines}"
        )
    if ended.exit_code == 0:
        return ServerUnavailableError(
            f"{command}: the job succeeded but its result could not be fetched; the next try reuses the finished work"
        )
    if ended.exit_code in SIGNAL_EXITS:
        return IncompleteError(
            f"{command}: stopped by signal {ended.exit_code - 128}; the next try resumes{last_lines}"
        )
    error = ERROR_BY_EXIT_CODE.get(ended.exit_code, PipelineError)
    return error(f"{command} exited with {ended.exit_code}{last_lines}")


def _image_help(container: str) -> str:
    if container == "base":
        return "Correct GPU_POD_IMAGE, push the image, or add imagePullSecrets to the pod template"
    return (
        "Copy the image to your registry and set xcom_sidecar_container_image in the Kubernetes connection to the copy"
    )


def _image(pod: V1Pod, container: str) -> str:
    return next((c.image for c in pod.spec.containers if c.name == container), "?")


def _limit(pod: V1Pod) -> str:
    base = next((c for c in pod.spec.containers if c.name == "base"), None)
    return ((base.resources.limits if base and base.resources else None) or {}).get("memory", "none set")
