"""Builds the pod for a GPU job from the pod template and the settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes.client import ApiClient, V1Pod

from insurance_rag.core.artifact_store.locations import location_of
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.orchestration.pod_config import PREFIX, PodConfig
from insurance_rag.orchestration.runs import artifact_root

STORE_VARIABLES = (
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "ARTIFACT_LEASE_S",
    "ARTIFACT_RETRY_S",
)  # fmt: skip
"""Environment variables without secrets that a pod needs to find an object store."""

#: A mapping in a Kubernetes manifest, as parsed from YAML.
Fields = dict[str, Any]


def check_pods() -> None:
    """Check the pod settings and the pod template. Raises InvalidInputError if one of them is invalid."""
    build_pod(PodConfig.from_environment(), artifact_root())


def build_pod(config: PodConfig, root: Path) -> V1Pod:
    """Apply the settings to the template and return the pod. Raises InvalidInputError if the template is invalid.

    `root` is the artifact root, which the pod must mount at the same path as this machine, unless it is the local copy
    of an object store. The pod gets the settings of the store, because the registry may be in one, too; credentials
    come from a Secret or from the pod's service account.
    """
    manifest = _read_template(config.template)
    in_store = location_of(root) is not None
    spec = manifest["spec"]
    base = spec["containers"][0]
    if config.image:
        base["image"] = config.image
    if config.artifacts_claim:
        claim = {"claimName": config.artifacts_claim}
        _extend(spec, "volumes", {"name": "artifacts", "persistentVolumeClaim": claim})
        _extend(base, "volumeMounts", {"name": "artifacts", "mountPath": str(root)})
    spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **config.node_selector}
    _extend(base, "envFrom", *({"secretRef": {"name": name}} for name in config.secrets))
    settings = {name: os.environ[name] for name in STORE_VARIABLES if name in os.environ}
    _extend(base, "env", *({"name": name, "value": value} for name, value in settings.items()))
    if not in_store:
        # Keep downloaded model weights on the shared volume, where later pods find them.
        _extend(base, "env", {"name": "HF_HOME", "value": str(root / ".huggingface")})
    pod = PodGenerator.deserialize_model_dict(manifest)
    if not in_store and not any(
        root.is_relative_to(mount.mount_path) for mount in pod.spec.containers[0].volume_mounts or []
    ):
        raise InvalidInputError(
            f"GPU_BACKEND=kubernetes: nothing is mounted at ARTIFACT_ROOT ({root}), so a pod could not read its input; "
            f"name a ReadWriteMany claim in {PREFIX}ARTIFACTS_CLAIM, or mount a volume there in {config.template}"
        )
    return pod


def _extend(owner: Fields, key: str, *items: Fields) -> None:
    owner[key] = [*(owner.get(key) or []), *items]


def _read_template(path: Path) -> Fields:
    where = f"{PREFIX}TEMPLATE: {path}"
    try:
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        pod = PodGenerator.deserialize_model_dict(manifest)
        first = manifest["spec"]["containers"][0]["name"]
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as e:
        raise InvalidInputError(f"{where}: not a readable YAML file ({e}); check the path and the file") from e
    except (ValueError, AttributeError, TypeError, LookupError) as e:  # raised for missing fields and wrong types
        raise InvalidInputError(
            f"{where}: not a pod with a container ({e}); start from a copy of pod_template.yaml"
        ) from e
    if first != KubernetesPodOperator.BASE_CONTAINER_NAME:
        raise InvalidInputError(f"{where}: the first container is called `{first}`; rename it to `base`")
    # The Kubernetes client drops unknown fields without a message, so a misspelled field would have no effect.
    if unknown := list(_dropped(manifest, ApiClient().sanitize_for_serialization(pod), "")):
        raise InvalidInputError([f"{where}: unknown field {name}; correct or remove it" for name in unknown])
    return dict(manifest)


def _dropped(given: object, kept: object, where: str) -> Iterator[str]:
    """Yield the paths of the fields that have a value in `given` but do not exist in `kept`."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key in (key for key, value in given.items() if value not in (None, {}, [])):
            name = f"{where}.{key}".lstrip(".")
            yield from _dropped(given[key], kept[key], name) if key in kept else [name]
    elif isinstance(given, list) and isinstance(kept, list):
        for n, (item, kept_item) in enumerate(zip(given, kept, strict=True)):
            yield from _dropped(item, kept_item, f"{where}[{n}]")
