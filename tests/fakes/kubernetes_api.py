"""A Kubernetes API over real HTTP, with a kubelet that runs a pod's base container as a local process.

It implements the requests of KubernetesPodOperator and its trigger: pods (create, list by labels, read, patch, delete),
logs with follow, exec over a websocket, events. Volumes are not mounted: `/airflow/xcom` becomes a folder of the pod,
every other path is a path of this machine. `fates` scripts how the next pods end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

import yaml
from aiohttp import web

Fate = Literal[
    "run", "oom_killed", "evicted", "image_pull", "sidecar_pull", "missing_secret", "unschedulable", "vanishes"
]
XCOM = "/airflow/xcom"
SIDECAR = "airflow-xcom-sidecar"
PODS = "/api/v1/namespaces/{namespace}/pods"


class ContainerState(TypedDict):
    """State of a container in the pod's status."""

    name: str
    image: str
    imageID: str
    ready: bool
    restartCount: int
    state: dict[str, dict[str, str | int]]


class Condition(TypedDict):
    """Condition in the pod's status."""

    type: str
    status: str
    reason: NotRequired[str]
    message: NotRequired[str]


class PodStatus(TypedDict):
    """The part of a pod's status that the operator reads."""

    phase: str
    conditions: list[Condition]
    containerStatuses: NotRequired[list[ContainerState]]
    startTime: NotRequired[str]
    reason: NotRequired[str]
    message: NotRequired[str]


class Metadata(TypedDict):
    """Metadata of a pod."""

    name: str
    labels: NotRequired[dict[str, str]]
    uid: NotRequired[str]
    creationTimestamp: NotRequired[str]
    resourceVersion: NotRequired[str]


class Container(TypedDict):
    """The part of a container that the kubelet uses."""

    name: str
    image: str
    command: NotRequired[list[str]]
    args: NotRequired[list[str]]
    env: NotRequired[list[dict[str, str]]]
    terminationMessagePolicy: NotRequired[str]


class PodSpec(TypedDict):
    """The part of a pod's specification that the kubelet uses."""

    containers: list[Container]


class PodBody(TypedDict):
    """A pod in a request or an answer of the API."""

    metadata: Metadata
    spec: PodSpec
    status: NotRequired[PodStatus]


@dataclass
class Pod:
    """One pod: its `body` in answers of the API, and the process behind it."""

    body: PodBody
    folder: Path
    logs: list[tuple[str, str]] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None

    @property
    def status(self) -> PodStatus:
        return self.body["status"]

    def container(self, name: str) -> ContainerState:
        """Return the state of a container; an empty state before it exists."""
        found = (c for c in self.status.get("containerStatuses", []) if c["name"] == name)
        return next(found, _container_state(name, "", {}))

    def set_containers(self, state: dict[str, dict[str, str | int]]) -> None:
        """Give every container this state."""
        self.status["containerStatuses"] = [
            _container_state(c["name"], c["image"], dict(state)) for c in self.body["spec"]["containers"]
        ]

    def signal(self, sign: signal.Signals) -> None:
        """Send a signal to the process group of the pod, if it runs."""
        if self.process and self.process.returncode is None:
            os.killpg(self.process.pid, sign)


def _container_state(name: str, image: str, state: dict[str, dict[str, str | int]]) -> ContainerState:
    ready = "running" in state
    return {"name": name, "image": image, "imageID": "", "ready": ready, "restartCount": 0, "state": state}


@dataclass
class FakeKubernetes:
    """The cluster: the API and the kubelet."""

    folder: Path
    port: int = 0
    fates: deque[Fate] = field(default_factory=deque)
    """How the next pods end, in order; when the queue is empty, a pod runs normally."""
    pods: dict[str, Pod] = field(default_factory=dict)
    created: list[PodBody] = field(default_factory=list)
    """Every pod that was requested, as the API received it."""
    deleted: list[str] = field(default_factory=list)
    kubelets: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def kubeconfig(self) -> Path:
        """Write a kubeconfig for this API and return its path."""
        path = self.folder / "kubeconfig.yaml"
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "fake", "user": {"token": "fake"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": "default"}}],
        }))  # fmt: skip
        return path

    def app(self) -> web.Application:
        """Return the application with the routes of the API."""
        app = web.Application()
        app.add_routes([
            web.post(PODS, self.create),
            web.get(PODS, self.list),
            web.get(PODS + "/{name}", self.read),
            web.patch(PODS + "/{name}", self.patch),
            web.delete(PODS + "/{name}", self.delete),
            web.get(PODS + "/{name}/log", self.log),
            web.get(PODS + "/{name}/exec", self.exec),
            web.get("/api/v1/namespaces/{namespace}/events", self.events),
        ])  # fmt: skip
        return app

    # ---- the API

    async def create(self, request: web.Request) -> web.Response:
        body: PodBody = await request.json()
        self.created.append(json.loads(json.dumps(body)))
        body["metadata"].update({"uid": str(uuid.uuid4()), "creationTimestamp": now(), "resourceVersion": "1"})
        body["status"] = {"phase": "Pending", "conditions": []}
        name = body["metadata"]["name"]
        pod = self.pods[name] = Pod(body, self.folder / name)
        (pod.folder / "xcom").mkdir(parents=True)
        self.kubelets.append(asyncio.create_task(self._live(pod, self.fates.popleft() if self.fates else "run")))
        return web.json_response(body, status=201)

    async def list(self, request: web.Request) -> web.Response:
        selector = request.query.get("labelSelector", "")
        items = [pod.body for pod in self.pods.values() if selected(pod.body["metadata"].get("labels", {}), selector)]
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def read(self, request: web.Request) -> web.Response:
        return web.json_response(self._pod(request).body)

    async def patch(self, request: web.Request) -> web.Response:
        pod = self._pod(request)
        pod.body["metadata"].setdefault("labels", {}).update((await request.json())["metadata"]["labels"])
        return web.json_response(pod.body)

    async def delete(self, request: web.Request) -> web.Response:
        pod = self._pod(request)
        self._remove(pod, signal.SIGTERM)
        return web.json_response(pod.body)

    async def log(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request)
        if "waiting" in pod.container(request.query["container"])["state"]:
            raise api_error(web.HTTPBadRequest, "container is waiting to start")
        response = web.StreamResponse()
        await response.prepare(request)
        follow, stamped = (request.query.get(flag, "").lower() == "true" for flag in ("follow", "timestamps"))
        sent = 0
        while True:
            ended = pod.body["metadata"]["name"] not in self.pods or "running" not in pod.container("base")["state"]
            for stamp, line in pod.logs[sent:]:
                await response.write(f"{stamp + ' ' if stamped else ''}{line}".encode())
            sent = len(pod.logs)
            if ended or not follow:
                return response
            await asyncio.sleep(0.05)

    async def exec(self, request: web.Request) -> web.WebSocketResponse:
        """Run a command with the /airflow/xcom of the pod; a shell without a command only receives a kill."""
        pod = self._pod(request)
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        command = [word.replace(XCOM, str(pod.folder / "xcom")) for word in request.query.getall("command")]
        if len(command) > 1:
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            await socket.send_bytes(b"\x01" + (await process.communicate())[0])
        else:
            await socket.receive()
            pod.container(SIDECAR)["state"] = terminated(0)
        await socket.send_bytes(b"\x03" + json.dumps({"metadata": {}, "status": "Success"}).encode())
        await socket.close()
        return socket

    async def events(self, request: web.Request) -> web.Response:
        return web.json_response({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": []})

    def _pod(self, request: web.Request) -> Pod:
        try:
            return self.pods[request.match_info["name"]]
        except KeyError:
            raise api_error(web.HTTPNotFound, "pod not found") from None

    def _remove(self, pod: Pod, sign: signal.Signals) -> None:
        del self.pods[pod.body["metadata"]["name"]]
        self.deleted.append(pod.body["metadata"]["name"])
        pod.signal(sign)

    # ---- the kubelet

    async def _live(self, pod: Pod, fate: Fate) -> None:
        if fate == "unschedulable":
            message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            pod.status["conditions"] = [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
            ]
            return
        pod.status["conditions"] = [{"type": "PodScheduled", "status": "True"}]
        if fate in ("image_pull", "sidecar_pull"):
            pod.set_containers({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}})
            if fate == "sidecar_pull":
                pod.container("base")["state"] = {"running": {"startedAt": now()}}
        elif fate == "missing_secret":
            message = 'secret "hf-token" not found'
            pod.set_containers({"waiting": {"reason": "CreateContainerConfigError", "message": message}})
        else:
            await self._run(pod, fate)

    async def _run(self, pod: Pod, fate: Fate) -> None:
        base = pod.body["spec"]["containers"][0]
        given = {e["name"]: e["value"].replace(XCOM, str(pod.folder / "xcom")) for e in base.get("env", [])}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        pod.process = await asyncio.create_subprocess_exec(
            *base.get("command", []), *base.get("args", []), env={**os.environ, **given, "PATH": path},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        pod.status.update({"phase": "Running", "startTime": now()})
        pod.set_containers({"running": {"startedAt": now()}})
        async for line in _lines(pod.process):
            pod.logs.append((now(), line))
            if fate != "run":  # the fate takes effect after the first line of output
                pod.signal(signal.SIGKILL)
        code = await pod.process.wait()
        self._end(pod, fate, code)

    def _end(self, pod: Pod, fate: Fate, code: int) -> None:
        if fate == "vanishes":
            self._remove(pod, signal.SIGKILL)
        elif fate == "evicted":
            message = "The node was low on resource: memory."
            pod.status.update({"phase": "Failed", "reason": "Evicted", "message": message})
            pod.set_containers(terminated(137, "Error"))
        else:
            end = terminated(code if code >= 0 else 128 - code, "OOMKilled" if fate == "oom_killed" else "Error")
            if code and pod.body["spec"]["containers"][0].get("terminationMessagePolicy") == "FallbackToLogsOnError":
                end["terminated"]["message"] = "".join(line for _, line in pod.logs)[-2048:]
            pod.container("base")["state"] = end


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    assert process.stdout
    async for line in process.stdout:
        yield line.decode()


def terminated(code: int, reason: str = "Completed") -> dict[str, dict[str, str | int]]:
    """Return the state of a container that ended."""
    return {"terminated": {"exitCode": code, "reason": reason if code else "Completed", "finishedAt": now()}}


def selected(labels: dict[str, str], selector: str) -> bool:
    """Return whether the labels match a selector of the terms `a=b`, `a!=b`, `a` and `!a`, joined by commas."""
    for term in filter(None, selector.split(",")):
        key, unequal, value = term.partition("!=") if "!=" in term else term.partition("=")
        if unequal:
            fits = (labels.get(key) == value) == (unequal == "=")
        else:
            fits = term.lstrip("!") not in labels if term.startswith("!") else term in labels
        if not fits:
            return False
    return True


def api_error(error: type[web.HTTPError], message: str) -> web.HTTPError:
    """Return an error in the format of the Kubernetes API."""
    status = {"kind": "Status", "status": "Failure", "message": message, "code": error.status_code}
    return error(text=json.dumps(status), content_type="application/json")


def now() -> str:
    """Return the current time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@contextlib.contextmanager
def running_kubernetes(folder: Path) -> Iterator[FakeKubernetes]:
    """Serve on a free port from a thread. At the end running pods are killed, and errors of the kubelet are raised."""
    cluster = FakeKubernetes(folder)
    loop, started = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        runner = web.AppRunner(cluster.app(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        cluster.port = runner.addresses[0][1]
        started.set()
        await stopped.wait()
        for pod in cluster.pods.values():
            pod.signal(signal.SIGKILL)
        await asyncio.gather(*cluster.kubelets)
        await runner.cleanup()

    stopped = asyncio.Event()
    with ThreadPoolExecutor(1) as thread:
        server = thread.submit(loop.run_until_complete, serve())
        try:
            if not started.wait(10):
                raise TimeoutError("the fake Kubernetes API did not start")
            yield cluster
        finally:
            loop.call_soon_threadsafe(stopped.set)
        server.result(10)
    loop.close()
