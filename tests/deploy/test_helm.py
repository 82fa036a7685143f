"""The values in deploy/helm render with Airflow's official chart, and fit the images and the manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.files import ROOT, dockerfile
from tests.deploy.tools import HELM, chart, run_tool

import insurance_rag
from insurance_rag.orchestration.pod_config import PREFIX, PodConfig

#: A mapping of a manifest or a values file, as parsed from YAML.
Fields = dict[str, Any]
COMBINATIONS = list(product(["celery", "kubernetes"], ["pvc", "s3"]))


def manifests() -> list[Fields]:
    """Return the Kubernetes objects in deploy/kubernetes."""
    paths = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
    return [content for path in paths for content in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def values(*names: str) -> Fields:
    """Return the values that Helm uses with these files: maps are merged, everything else is replaced."""

    def merge(low: Fields, high: Fields) -> Fields:
        both = {k for k, v in high.items() if isinstance(v, dict) and isinstance(low.get(k), dict)}
        return {**low, **high, **{k: merge(low[k], high[k]) for k in both}}

    merged: Fields = {}
    for name in names:
        merged = merge(merged, yaml.safe_load((ROOT / f"deploy/helm/{name}.yaml").read_text(encoding="utf-8")))
    return merged


@cache
def _rendered() -> dict[str, dict[str, str]]:
    script = str(Path(__file__).with_name("render_chart.py"))
    text = json.dumps({"-".join(names): values("values", *names) for names in COMBINATIONS})
    done = run_tool(HELM, "python", script, str(chart()), text=text)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout))


@cache
def rendered(executor: str, storage: str) -> list[Fields]:
    """Return the objects that Helm would create. Fails if the values do not follow the chart's schema."""
    texts = [text for path, text in _rendered()[f"{executor}-{storage}"].items() if not path.endswith("NOTES.txt")]
    return [item for text in texts for item in yaml.load_all(text, yaml.CSafeLoader) if item]


def pods(objects: list[Fields]) -> Iterator[tuple[str, Fields, Fields]]:
    """Yield the name, the labels and the specification of the pods of all objects, and the pod of one task."""
    for item in objects:
        spec = item.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            yield item["metadata"]["name"], template["metadata"].get("labels", {}), template["spec"]
        if pod := item.get("data", {}).get("pod_template_file.yaml"):
            task = yaml.safe_load(pod)
            yield "task", task["metadata"]["labels"], task["spec"]


def containers(spec: Fields) -> list[Fields]:
    return [*(spec.get("initContainers") or []), *spec["containers"]]


@pytest.mark.parametrize(("executor", "storage"), COMBINATIONS)
def test_every_pod_is_restricted_and_limited(executor: str, storage: str) -> None:
    for name, _, spec in pods(rendered(executor, storage)):
        pod_security = spec["securityContext"]
        assert pod_security["runAsUser"] > 0 and pod_security["runAsNonRoot"], name
        assert pod_security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(spec):
            security = container["securityContext"]
            assert security["capabilities"] == {"drop": ["ALL"]} and not security["allowPrivilegeEscalation"], name
            if "insurance-rag-airflow" in container["image"]:
                assert security["readOnlyRootFilesystem"], name
                mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
                assert "/tmp" in mounts, f"{name}: Airflow cannot write temporary files"
        limits = [container.get("resources", {}).get("limits", {}) for container in spec["containers"]]
        assert name in ("airflow-statsd", "airflow-cleanup") or all("memory" in limit for limit in limits), name


@pytest.mark.parametrize(("executor", "storage"), COMBINATIONS)
def test_no_secret_is_in_the_values(executor: str, storage: str) -> None:
    objects = rendered(executor, storage)
    own = {item["metadata"]["name"] for item in objects if item["kind"] == "Secret"}
    assert own <= {"airflow-broker-url"}, "an upgrade would replace a secret that the chart created"
    used = {
        variable["valueFrom"]["secretKeyRef"]["name"]
        for _, _, spec in pods(objects)
        for container in containers(spec)
        for variable in container.get("env") or []
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    for name in used - own:
        assert f"create secret generic {name} " in page, f"docs/deploy.md does not say how to create {name}"


@pytest.mark.parametrize(("executor", "storage"), COMBINATIONS)
def test_tasks_and_components_get_the_same_settings(executor: str, storage: str) -> None:
    wanted = {"pvc": {"ARTIFACT_ROOT", "GPU_POD_ARTIFACTS_CLAIM"}, "s3": {"ARTIFACT_ROOT", "ARTIFACT_SCRATCH"}}[storage]
    worker = "airflow-worker" if executor == "celery" else "task"
    names = set()
    for name, _, spec in pods(rendered(executor, storage)):
        if name not in (
            "airflow-api-server",
            "airflow-scheduler",
            "airflow-dag-processor",
            "airflow-triggerer",
            worker,
        ):
            continue
        names.add(name)
        main = spec["containers"][0]
        given = {variable["name"]: variable.get("value") for variable in main["env"]}
        assert wanted <= set(given), name
        assert {"configMapRef": {"name": "insurance-rag-settings"}} in main["envFrom"], name
        mounted = {mount["mountPath"] for mount in main["volumeMounts"]}
        root = given["ARTIFACT_ROOT"] if storage == "pvc" else given["ARTIFACT_SCRATCH"]
        assert root in mounted, f"{name}: {root} is on a read-only file system"
    assert len(names) == 5, names


def test_the_worker_serves_the_queue_and_needs_no_database() -> None:
    found = {name: spec for name, _, spec in pods(rendered("celery", "s3"))}
    worker = found["airflow-worker"]
    assert "--queues api " in worker["containers"][0]["args"][-1] and not worker.get("initContainers")
    scheduler = {v["name"]: v.get("value") for v in found["airflow-dag-processor"]["containers"][0]["env"]}
    assert scheduler["API_QUEUE"] == scheduler["GPU_QUEUE"] == "api"


def test_the_image_has_what_the_chart_calls() -> None:
    """The chart's health checks and commands call programs of the official image."""
    text = json.dumps([spec for _, _, spec in pods(rendered("celery", "pvc"))])
    programs = set(re.findall(r"exec (/\S+)", text)) | set(re.findall(r"bash\", \"(/\S+)\"", text))
    copied = {copy.split()[-1] for stage in dockerfile().chain("airflow") for copy in stage.values("COPY")}
    assert programs <= copied, programs - copied
    environment = dockerfile().environment("airflow")
    assert values("values")["images"]["airflow"]["tag"] == insurance_rag.__version__
    assert f"{environment['AIRFLOW_HOME']}/airflow.cfg" in text


def test_policies_select_pods_that_exist() -> None:
    """A policy that selects nothing protects nothing."""
    labels = [found for _, found, _ in pods([*rendered("celery", "pvc"), *rendered("kubernetes", "pvc")])]
    labels += [item["metadata"]["labels"] for item in manifests() if item["kind"] == "Pod"]
    selectors = []
    for policy in (item["spec"] for item in manifests() if item["kind"] == "NetworkPolicy"):
        peers = [peer for rule in policy.get("egress", []) for peer in rule.get("to", [])]
        selectors += [policy["podSelector"], *(peer["podSelector"] for peer in peers if "podSelector" in peer)]
    assert len(selectors) == 4
    for selector in selectors:
        assert any(selector["matchLabels"].items() <= found.items() for found in labels), selector


def test_settings_are_known() -> None:
    settings = yaml.safe_load(values("values")["extraConfigMaps"]["insurance-rag-settings"]["data"])
    assert all(isinstance(value, str) for value in settings.values()), "a ConfigMap contains strings only"
    both = [{variable["name"] for variable in values(name)["env"]} for name in ("pvc", "s3")]
    pod_settings = {name for name in {*settings, *both[0], *both[1]} if name.startswith(PREFIX)}
    assert {name.removeprefix(PREFIX).lower() for name in pod_settings} <= set(PodConfig.model_fields)
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "include").rglob("*.py"))
    for name in {*settings, *both[0], *both[1]} - pod_settings - {"AWS_REGION", "ARTIFACT_SCRATCH"}:
        assert f'"{name}"' in code, name


@pytest.mark.slow
def test_manifests_have_no_unknown_field() -> None:
    """Read them with the classes of the Kubernetes client and compare what is left."""
    from kubernetes.client import ApiClient

    from insurance_rag.orchestration.pod_spec import _dropped

    client = ApiClient()
    kinds = {"PersistentVolumeClaim": "V1PersistentVolumeClaim", "Pod": "V1Pod", "Role": "V1Role"}
    kinds |= {"RoleBinding": "V1RoleBinding", "NetworkPolicy": "V1NetworkPolicy"}
    assert {item["kind"] for item in manifests()} == set(kinds)
    for item in manifests():
        read = client.sanitize_for_serialization(client._ApiClient__deserialize(item, kinds[item["kind"]]))
        assert list(_dropped(item, read, "")) == [], item["metadata"].get("name")


@pytest.mark.slow
def test_the_pod_template_can_run_a_gpu_job() -> None:
    from insurance_rag.orchestration.pod_spec import build_pod

    template = ROOT / "deploy/kubernetes/gpu-pod.yaml"
    config = PodConfig(template=template, artifacts_claim="insurance-rag-artifacts", image="gpu:1")
    pod = build_pod(config, Path("/opt/airflow/artifacts"))
    base = pod.spec.containers[0]
    assert base.image == "gpu:1" and base.resources.limits["nvidia.com/gpu"] == "1"
    assert "/opt/airflow/artifacts" in {mount.mount_path for mount in base.volume_mounts}


@pytest.mark.slow
def test_a_gpu_job_on_a_bucket_needs_no_shared_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    from insurance_rag.core.artifact_store.locations import local_path
    from insurance_rag.orchestration.pod_spec import build_pod

    given = {variable["name"]: variable.get("value") for variable in values("s3")["env"]}
    monkeypatch.setenv("ARTIFACT_SCRATCH", given["ARTIFACT_SCRATCH"])
    monkeypatch.setenv("AWS_REGION", given["AWS_REGION"])
    config = PodConfig(template=ROOT / "deploy/kubernetes/gpu-pod-s3.yaml", secrets=(given["GPU_POD_SECRETS"],))
    pod = build_pod(config, local_path(given["ARTIFACT_ROOT"]))
    base = pod.spec.containers[0]
    environment = {variable.name: variable.value for variable in base.env}
    assert environment["AWS_REGION"] == given["AWS_REGION"]
    mounts = [mount.mount_path for mount in base.volume_mounts]
    assert any(environment["ARTIFACT_SCRATCH"].startswith(f"{path}/") for path in mounts)
    assert [source.secret_ref.name for source in base.env_from] == ["insurance-rag-bucket"]
    assert not any(volume.persistent_volume_claim for volume in pod.spec.volumes)


def test_manifests_and_values_name_the_same_image() -> None:
    image = values("values")["extraConfigMaps"]["insurance-rag-settings"]["data"]
    for path in ROOT.glob("deploy/kubernetes/gpu-pod*.yaml"):
        assert yaml.safe_load(path.read_text())["spec"]["containers"][0]["image"] in image
