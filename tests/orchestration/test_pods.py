"""GPU jobs as pods: the operator against a Kubernetes API that runs the containers as processes."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from airflow.sdk import DAG, Context
from airflow.sdk.exceptions import TaskDeferred
from kubernetes.client import ApiClient
from pydantic import JsonValue
from tests.fakes.kubernetes_api import FakeKubernetes, Fate, running_kubernetes

from insurance_rag.config import RunConfig
from insurance_rag.core.errors import (
    GateRejectedError,
    GpuMemoryError,
    IncompleteError,
    InvalidInputError,
    PipelineError,
    ServerUnavailableError,
)
from insurance_rag.orchestration import pod_operator
from insurance_rag.orchestration.pod_config import PodConfig
from insurance_rag.orchestration.pod_operator import COMMAND, PodJobOperator
from insurance_rag.orchestration.pod_spec import build_pod
from insurance_rag.orchestration.preflight import check_gpu_backend
from insurance_rag.orchestration.retries import RETRY_POLICY

RESULT = 'import json, os; json.dump({"rows": 7}, open(os.environ["RESULT_JSON"], "w")); '


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    (tmp_path / "cluster").mkdir()
    with running_kubernetes(tmp_path / "cluster") as fake:
        monkeypatch.delenv("KUBECONFIG", raising=False)
        connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(fake.kubeconfig)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("ARTIFACT_ROOT", str(tmp_path / "artifacts"))
        monkeypatch.setenv("GPU_POD_ARTIFACTS_CLAIM", "artifacts")
        monkeypatch.setenv("GPU_POD_NAMESPACE", "default")
        monkeypatch.setenv("GPU_POD_POLL_S", "1")
        yield fake


Job = Callable[..., PodJobOperator]


@pytest.fixture
def job(cluster: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Return a factory of pod tasks; `python` is a script to run instead of the command line."""

    def make(*arguments: str, python: str | None = None) -> PodJobOperator:
        monkeypatch.setattr(pod_operator, "COMMAND", ["python", "-c", python] if python else COMMAND)
        return PodJobOperator(task_id="train", arguments=list(arguments) or ["train"])

    return make


class Store(dict[str, JsonValue]):
    """The part of Airflow's task state store that the operator uses."""

    def set(self, key: str, value: JsonValue) -> None:
        self[key] = value


def context(store: Store | None = None) -> Context:
    ti = SimpleNamespace(
        dag_id="gpu", task_id="train", map_index=0, try_number=1, start_date=datetime.now(UTC),
        xcom_push=lambda key, value: None,
    )  # fmt: skip
    return cast(Context, {"ti": ti, "run_id": "manual", "dag": SimpleNamespace(), "task_state_store": store})


# ---- the pod that is requested


def test_the_pod_has_gpu_artifacts_secrets_and_shared_memory(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPU_POD_SECRETS", "hf-token, judge")
    monkeypatch.setenv("GPU_POD_IMAGE", "registry.example/gpu:3")
    monkeypatch.setenv("GPU_POD_NODE_SELECTOR", "nvidia.com/gpu.product=NVIDIA-L4")
    pod = ApiClient().sanitize_for_serialization(job("train", "--recipe", "v1").build_pod_request_obj(dry_run=True))
    spec, (base, sidecar) = pod["spec"], pod["spec"]["containers"]

    assert base["command"] + base["args"] == ["python", "-m", "insurance_rag", "train", "--recipe", "v1"]
    assert base["image"] == "registry.example/gpu:3"
    assert base["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "RESULT_JSON", "value": "/airflow/xcom/return.json"} in base["env"]
    assert [e["secretRef"]["name"] for e in base["envFrom"]] == ["hf-token", "judge"]
    mounts = {m["mountPath"]: m["name"] for m in base["volumeMounts"]}
    volumes = {v["name"]: v for v in spec["volumes"]}
    assert volumes[mounts[str(tmp_path / "artifacts")]]["persistentVolumeClaim"] == {"claimName": "artifacts"}
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert base["terminationMessagePolicy"] == "FallbackToLogsOnError" and spec["restartPolicy"] == "Never"
    for container in (base, sidecar):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_a_custom_template(cluster: FakeKubernetes, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("spec: {containers: [{name: base, image: mine, volumeMounts: [{name: a, mountPath: /data}]}]}")
    pod = build_pod(PodConfig(template=own), Path("/data/artifacts"))
    assert pod.spec.containers[0].image == "mine"
    with pytest.raises(InvalidInputError, match="nothing is mounted at ARTIFACT_ROOT"):
        build_pod(PodConfig(template=own), Path("/elsewhere"))


@pytest.mark.parametrize("text", ["a: [", "just words", "spec: {containers: [{name: main}]}", "spec: {containers: []}",
    "spec: {containers: [{name: base, volumeMounts: [{name: a}]}]}", "spec: {containers: [{name: base, env: 3}]}",
])  # fmt: skip
def test_a_broken_template_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "pod.yaml").write_text(text)
    with pytest.raises(InvalidInputError, match=r"pod\.yaml"):
        build_pod(PodConfig(template=tmp_path / "pod.yaml"), tmp_path)


def test_a_field_that_kubernetes_would_drop_is_named(tmp_path: Path) -> None:
    base = "{name: base, volumeMounts: [{name: a, mountPath: /}], resource: {a: 1}}"
    text = f"spec: {{nodeSelector: , toleration: [{{key: gpu}}], containers: [{base}]}}"
    (tmp_path / "pod.yaml").write_text(text)
    with pytest.raises(InvalidInputError) as e:
        build_pod(PodConfig(template=tmp_path / "pod.yaml"), tmp_path)
    fields = [p.partition("unknown field ")[2].partition("; correct")[0] for p in e.value.problems]
    assert fields == ["spec.toleration", "spec.containers[0].resource"]


def test_every_wrong_setting_is_listed() -> None:
    with pytest.raises(InvalidInputError) as e:
        PodConfig.from_environment(
            {"GPU_POD_IMGE": "x", "GPU_POD_POLL_S": "often", "GPU_POD_NODE_SELECTOR": "L4", "GPU_POD_NAMESPACE": ""}
        )
    assert len(e.value.problems) == 3 and "did you mean 'image'" in str(e.value)


def test_wrong_pod_settings_are_found_before_a_run_costs_anything(
    cluster: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPU_BACKEND", "kubernetes")
    check_gpu_backend(RunConfig())
    monkeypatch.setenv("GPU_POD_TEMPLATE", "missing.yaml")
    with pytest.raises(InvalidInputError, match=r"missing\.yaml"):
        check_gpu_backend(RunConfig())
    monkeypatch.setenv("GPU_BACKEND", "k8s")
    with pytest.raises(InvalidInputError, match="choose local or kubernetes"):
        check_gpu_backend(RunConfig())


# ---- how it ends


def test_the_command_line_runs_and_its_result_comes_back(
    cluster: FakeKubernetes, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    result = job(python=RESULT + "print('step 5/10 loss 1.2')").execute(context())
    assert result == {"rows": 7}
    assert "step 5/10 loss 1.2" in capsys.readouterr().out
    assert cluster.deleted == [cluster.created[0]["metadata"]["name"]] and not cluster.pods


def test_wrong_input_of_the_real_command_line_fails_without_retry(job: Job, tmp_path: Path) -> None:
    missing = str(tmp_path / "none.jsonl")
    with pytest.raises(InvalidInputError, match=r"none\.jsonl"):
        job("retrieve", "--chunks", missing, "--questions", missing).execute(context())


@pytest.mark.parametrize(
    ("code", "error"), [(1, PipelineError), (3, IncompleteError), (4, GateRejectedError), (143, IncompleteError)]
)
def test_an_exit_code_is_raised_as_its_error(job: Job, code: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="the last line") as e:
        job(python=f"print('the last line'); raise SystemExit({code})").execute(context())
    assert type(e.value) is error


@pytest.mark.parametrize(
    ("fate", "error", "advice"),
    [
        ("oom_killed", GpuMemoryError, "32Gi.*Raise the limit in the pod template"),
        ("evicted", IncompleteError, "low on resource: memory.*priority class"),
        ("image_pull", InvalidInputError, "insurance-rag-gpu:latest.*manifest unknown.*Correct GPU_POD_IMAGE"),
        ("sidecar_pull", InvalidInputError, "alpine.*manifest unknown.*xcom_sidecar_container_image"),
        ("missing_secret", InvalidInputError, '"hf-token" not found.*GPU_POD_SECRETS'),
        ("unschedulable", ServerUnavailableError, "Insufficient nvidia.com/gpu.*node selector"),
        ("vanishes", IncompleteError, "deleted by hand.*resumes"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_failure_of_the_cluster_is_explained_with_advice(
    cluster: FakeKubernetes,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    fate: Fate,
    error: type[Exception],
    advice: str,
    deferrable: bool,
) -> None:
    monkeypatch.setenv("GPU_POD_STARTUP_TIMEOUT_S", "1")
    monkeypatch.setenv("GPU_POD_SCHEDULE_TIMEOUT_S", "1")
    monkeypatch.setenv("GPU_POD_DEFERRABLE", str(deferrable))
    cluster.fates.append(fate)
    operator = job(python="import time; print('epoch 1', flush=True); time.sleep(60)")
    with pytest.raises(error, match=f"(?s){advice}"):
        run_deferrable(operator) if deferrable else operator.execute(context())
    assert not cluster.pods


def run_deferrable(operator: PodJobOperator) -> JsonValue:
    """Do what worker and triggerer do: execute until the deferral, wait in the trigger, resume with its event."""
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context())

    async def first_event() -> dict[str, JsonValue]:
        async for event in deferred.value.trigger.run():
            return dict(event.payload)
        raise AssertionError("the trigger ended without an event")

    return operator.trigger_reentry(context(), asyncio.run(first_event()))


def test_a_deferrable_task_returns_the_result(
    cluster: FakeKubernetes, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPU_POD_DEFERRABLE", "true")
    assert run_deferrable(job(python=RESULT)) == {"rows": 7}
    assert not cluster.pods


def test_a_result_that_is_not_json_is_retried(job: Job) -> None:
    with pytest.raises(ServerUnavailableError, match="result could not be fetched"):
        job(python="import os; open(os.environ['RESULT_JSON'], 'w').write('{')").execute(context())


def test_the_mapped_pod_task_survives_serialization(cluster: FakeKubernetes) -> None:
    """The scheduler stores the DAG in this form."""
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("gpu", schedule=None) as dag:
        PodJobOperator.partial(task_id="train", retry_policy=RETRY_POLICY).expand(arguments=[["train"]])
    again = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert again.get_task("train").task_type == "PodJobOperator"


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_restarted_worker_finds_its_pod(
    cluster: FakeKubernetes,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    deferrable: bool,
) -> None:
    """The pod may have ended in between: the sidecar kept the result. The result is reported once."""
    monkeypatch.setenv("GPU_POD_DEFERRABLE", str(deferrable))
    store = Store()
    killed = job(python=RESULT)
    killed.get_or_create_pod(killed.build_pod_request_obj(context(store)), context(store))  # and then kill -9
    wait_for(lambda: [pod for pod in cluster.pods.values() if "terminated" in pod.container("base")["state"]])

    assert job(python="raise SystemExit(1)").execute(context(store)) == {"rows": 7}
    assert len(cluster.created) == 1
    assert caplog.text.count("the result of train has no lineage") == 1, "it is no record of an adapter"


def test_a_killed_task_stops_its_pod(cluster: FakeKubernetes, job: Job, tmp_path: Path) -> None:
    mark = tmp_path / "checkpoint"
    operator = job(python=(
        "import pathlib, signal, sys, time\n"
        f"def save(*_): pathlib.Path({str(mark)!r}).touch(); sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, save); print('ready', flush=True); time.sleep(60)"
    ))  # fmt: skip
    ended: list[Exception] = []

    def work() -> None:
        try:
            operator.execute(context())
        except Exception as e:  # noqa: BLE001
            ended.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: any(pod.logs for pod in cluster.pods.values()))
    operator.on_kill()
    wait_for(mark.exists)
    thread.join(20)
    assert not thread.is_alive() and ended and not cluster.pods


@pytest.mark.parametrize("root", ["s3://bucket/artifacts", "/shared/artifacts"])
def test_a_pod_finds_the_store_of_its_artifacts_or_registry(
    job: Job, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    monkeypatch.setenv("ARTIFACT_ROOT", root)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    pod = ApiClient().sanitize_for_serialization(job("train").build_pod_request_obj(dry_run=True))
    environment = {e["name"]: e.get("value") for e in pod["spec"]["containers"][0]["env"]}
    assert environment["AWS_ENDPOINT_URL"] == "http://minio:9000"
    assert ("HF_HOME" in environment) is root.startswith("/")
    assert "a-secret" not in json.dumps(pod)


def wait_for(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
