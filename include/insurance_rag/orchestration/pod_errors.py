"""Why a pod failed, as the named error that says what to do: fix and clear, or try again and resume."""

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
    "the pod does not exist any more, although its job had not ended: it was deleted by hand, or its node was removed. "
    "Finished work is kept, and the next try resumes"
)
EVICTION_HELP = (
    "The next try resumes. If this happens again, request what the job uses (resources of the pod template) "
    "or give it a priority class"
)
#: A container that waits for one of these reasons will not start without a change.
IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
CONFIG_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
#: 128 + SIGKILL and 128 + SIGTERM: the container was stopped from outside.
SIGNAL_EXITS = (137, 143)


def pod_error(pod: V1Pod | None, command: str) -> PipelineError:
    """Return the error for a failed pod that ran `command`.

    `pod` is its last known state; None if it does not exist any more.
    """
    if pod is None:
        return IncompleteError(f"{command}: {GONE}")
    return _disruption(pod, command) or _waiting(pod, command) or _ended(pod, command)


def _disruption(pod: V1Pod, command: str) -> PipelineError | None:
    """The pod was evicted or preempted, or its node was drained or shut down."""
    conditions = [c for c in pod.status.conditions or [] if c.type == "DisruptionTarget" and c.status == "True"]
    if pod.status.reason != "Evicted" and not conditions:
        return None
    reason = pod.status.reason or conditions[0].reason
    message = pod.status.message or (conditions[0].message if conditions else "")
    return IncompleteError(f"{command}: the cluster stopped the pod ({reason}: {message}). {EVICTION_HELP}")


def _waiting(pod: V1Pod, command: str) -> PipelineError | None:
    """A container did not start."""
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
                "namespace has the Secrets of GPU_POD_SECRETS and everything that the pod template names, then clear "
                "this task"
            )
    if pod.status.phase != "Pending":
        return None
    why = [f"{c.reason}: {c.message}" for c in pod.status.conditions or [] if c.status != "True" and c.message]
    return ServerUnavailableError(
        f"{command}: the pod did not start in time ({'; '.join(why) or 'no reason given'}). The next try waits again; "
        "if no node fits, change resources, tolerations and node selector (pod template, GPU_POD_NODE_SELECTOR), or "
        "allow more time (GPU_POD_SCHEDULE_TIMEOUT_S, GPU_POD_STARTUP_TIMEOUT_S)"
    )


def _ended(pod: V1Pod, command: str) -> PipelineError:
    """The container ended, or the time limit of the task stopped it."""
    statuses = {status.name: status for status in pod.status.container_statuses or []}
    ended = statuses["base"].state.terminated if "base" in statuses else None
    if ended is None:
        return IncompleteError(f"{command}: the time limit of the task stopped it. The next try resumes")
    last_lines = f":\n{ended.message.rstrip()}" if ended.message else ""
    if ended.reason == "OOMKilled":
        return GpuMemoryError(
            f"{command}: killed because it used more memory than the limit of the pod ({_limit(pod)}; this is memory "
            f"of the node, not of the GPU). Raise it in the pod template, then clear this task: finished work is kept"
            f"{last_lines}"
        )
    if ended.exit_code == 0:
        return ServerUnavailableError(
            f"{command}: the job succeeded but its result could not be fetched; the next try finds the finished work"
        )
    if ended.exit_code in SIGNAL_EXITS:
        return IncompleteError(
            f"{command}: stopped by signal {ended.exit_code - 128}; the next try resumes{last_lines}"
        )
    error = ERROR_BY_EXIT_CODE.get(ended.exit_code, PipelineError)
    return error(f"{command} exited with {ended.exit_code}{last_lines}")


def _image_help(container: str) -> str:
    if container == "base":
        return "Correct GPU_POD_IMAGE, push the image, or give the pod template imagePullSecrets"
    return "Copy it to your registry and name the copy in the Kubernetes connection (xcom_sidecar_container_image)"


def _image(pod: V1Pod, container: str) -> str:
    return next((c.image for c in pod.spec.containers if c.name == container), "?")


def _limit(pod: V1Pod) -> str:
    base = next((c for c in pod.spec.containers if c.name == "base"), None)
    return ((base.resources.limits if base and base.resources else None) or {}).get("memory", "none set")
