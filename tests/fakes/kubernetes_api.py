"""A Kubernetes API over real HTTP, with a kubelet that runs a pod's base container as a local process.

It answers what KubernetesPodOperator and its trigger ask: pods (create, list by labels, read, patch, delete), logs that
follow, exec over a websocket, events. Volumes are not mounted: `/airflow/xcom` becomes a folder of the pod, every other
path is this machine's. What becomes of the pods to come is scripted by `fates`.
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
from typing import Any, Literal

import yaml
from aiohttp import web

Fate = Literal[
    "run", "oom_killed", "evicted", "image_pull", "sidecar_pull", "missing_secret", "unschedulable", "vanishes"
]
XCOM = "/airflow/xcom"
SIDECAR = "airflow-xcom-sidecar"
PODS = "/api/v1/namespaces/{namespace}/pods"


@dataclass
class Pod:
    """One pod as the API shows it (`body`), and what runs behind it."""

    body: dict[str, Any]
    folder: Path
    logs: list[tuple[str, str]] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None

    @property
    def status(self) -> dict[str, Any]:
        return self.body["status"]

    def container(self, name: str) -> dict[str, Any]:
        return next((c for c in self.status.get("containerStatuses", []) if c["name"] == name), {"state": {}})

    def set_containers(self, state: dict[str, Any]) -> None:
        self.status["containerStatuses"] = [
            {"name": c["name"], "image": c["image"], "imageID": "", "ready": "running" in state, "restartCount": 0,
             "state": dict(state)} for c in self.body["spec"]["containers"]
        ]  # fmt: skip

    def signal(self, sign: signal.Signals) -> None:
        if self.process and self.process.returncode is None:
            os.killpg(self.process.pid, sign)


@dataclass
class FakeKubernetes:
    folder: Path
    port: int = 0
    fates: deque[Fate] = field(default_factory=deque)
    """Of the next pods, in order; when it is empty a pod just runs."""
    pods: dict[str, Pod] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    """Every pod that was ever asked for, as the API received it."""
    deleted: list[str] = field(default_factory=list)
    kubelets: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def kubeconfig(self) -> Path:
        path = self.folder / "kubeconfig.yaml"
        path.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "fake", "user": {"token": "fake"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": "default"}}],
        }))  # fmt: skip
        return path

    def app(self) -> web.Application:
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
        body = await request.json()
        self.created.append(json.loads(json.dumps(body)))
        body["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "resourceVersion": "1"}
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
            raise refusal(web.HTTPBadRequest, "container is waiting to start")
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
        """A command runs with the pod's own /airflow/xcom; a bare shell is only ever asked to kill the sidecar."""
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
            raise refusal(web.HTTPNotFound, "pod not found") from None

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
            waiting = {"reason": "CreateContainerConfigError", "message": 'secret "hf-token" not found'}
            pod.set_containers({"waiting": waiting})
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
        pod.status.update(phase="Running", startTime=now())
        pod.set_containers({"running": {"startedAt": now()}})
        async for line in _lines(pod.process):
            pod.logs.append((now(), line))
            if fate != "run":  # it starts, says something, and then this happens
                pod.signal(signal.SIGKILL)
        code = await pod.process.wait()
        self._end(pod, fate, code)

    def _end(self, pod: Pod, fate: Fate, code: int) -> None:
        if fate == "vanishes":
            self._remove(pod, signal.SIGKILL)
        elif fate == "evicted":
            message = "The node was low on resource: memory."
            pod.status.update(phase="Failed", reason="Evicted", message=message)
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


def terminated(code: int, reason: str = "Completed") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason if code else "Completed", "finishedAt": now()}}


def selected(labels: dict[str, str], selector: str) -> bool:
    """`a=b`, `a!=b`, `a` and `!a`, joined by commas."""
    for term in filter(None, selector.split(",")):
        key, unequal, value = term.partition("!=") if "!=" in term else term.partition("=")
        if unequal:
            fits = (labels.get(key) == value) == (unequal == "=")
        else:
            fits = term.lstrip("!") not in labels if term.startswith("!") else term in labels
        if not fits:
            return False
    return True


def refusal(error: type[web.HTTPError], message: str) -> web.HTTPError:
    status = {"kind": "Status", "status": "Failure", "message": message, "code": error.status_code}
    return error(text=json.dumps(status), content_type="application/json")


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@contextlib.contextmanager
def running_kubernetes(folder: Path) -> Iterator[FakeKubernetes]:
    """Serve on a free port from a thread; on the way out what still runs is killed, and a fault of a kubelet raised."""
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
