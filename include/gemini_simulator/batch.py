"""Batch mode: many requests submitted at once, answered together after a while, with limits of its own.

A batch draws on no minute's quota. What it meets besides: each request can be answered, blocked or fail by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gemini_simulator import gemini_format as gemini
from gemini_simulator.quota import MINUTE_S, Violation
from gemini_simulator.service import BadRequest, Call, QuotaBroken, ServerFault, Service, fingerprint

Json = dict[str, Any]

_KIND = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"


@dataclass
class Job:
    name: str
    key: str
    project: str
    model: str
    display_name: str
    requests: list[Json]
    created: float
    cancelled: bool = False
    output: Json | None = None


@dataclass
class Batches:
    """The batches of a running simulator; a result is made when it is first looked at after its time."""

    service: Service
    jobs: dict[str, Job] = field(default_factory=dict)

    def submit(self, key: str | None, model: str, body: Any) -> Json:
        project = self.service.check_key(key)
        batch = body.get("batch", {}) if isinstance(body, dict) else {}
        config = batch.get("inputConfig") or batch.get("input_config") or {}
        requests = config.get("requests", {}).get("requests", [])
        if not requests:
            raise BadRequest("batch.input_config.requests: at least one inlined request is wanted")
        running = sum(job.project == project and self._state(job) == "RUNNING" for job in self.jobs.values())
        if running >= self.service.config.batch_jobs:
            limit = self.service.config.batch_jobs
            raise QuotaBroken([Violation("rpm", limit, MINUTE_S)], model, self.service.config.speed, bare=True)
        name = f"batches/{fingerprint(f'{key}{len(self.jobs)}')}"
        display = batch.get("displayName") or batch.get("display_name") or ""
        self.jobs[name] = Job(name, key or "", project, model, display, requests, self.service.now())
        return self._operation(self.jobs[name])

    def get(self, key: str | None, name: str) -> Json | None:
        """The batch as an operation, None where this project has none of that name."""
        job = self._own(key, name)
        return self._operation(job) if job else None

    def cancel(self, key: str | None, name: str) -> Json | None:
        job = self._own(key, name)
        if job and self._state(job) == "RUNNING":
            job.cancelled = True
        return {} if job else None

    def delete(self, key: str | None, name: str) -> Json | None:
        job = self._own(key, name)
        return {} if job and self.jobs.pop(job.name) else None

    def of_project(self, key: str | None) -> list[Json]:
        project = self.service.check_key(key)
        return [self._operation(job) for job in self.jobs.values() if job.project == project]

    def _own(self, key: str | None, name: str) -> Job | None:
        project = self.service.check_key(key)
        job = self.jobs.get(name)
        return job if job and job.project == project else None

    def _state(self, job: Job) -> str:
        if job.cancelled:
            return "CANCELLED"
        done = self.service.now() >= job.created + self.service.config.batch_s
        return "SUCCEEDED" if done else "RUNNING"

    def _operation(self, job: Job) -> Json:
        state = self._state(job)
        created = datetime.now(UTC) - timedelta(seconds=(self.service.now() - job.created) / self.service.config.speed)
        metadata: Json = {
            "@type": _KIND,
            "name": job.name,
            "model": f"models/{job.model}",
            "displayName": job.display_name,
            "state": f"BATCH_STATE_{state}",
            "createTime": created.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "batchStats": {"requestCount": str(len(job.requests))},
        }
        operation: Json = {"name": job.name, "metadata": metadata}
        if state == "SUCCEEDED":
            job.output = job.output or {"inlinedResponses": {"inlinedResponses": self._answers(job)}}
            metadata["output"] = job.output
            metadata["endTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            operation |= {"done": True, "response": {"@type": _KIND + "Output", **job.output}}
        elif state == "CANCELLED":
            operation |= {"done": True, "error": {"code": 1, "message": "The batch was cancelled."}}
        return operation

    def _answers(self, job: Job) -> list[Json]:
        return [self._answer(job, request) for request in job.requests]

    def _answer(self, job: Job, entry: Json) -> Json:
        metadata = {"metadata": entry["metadata"]} if "metadata" in entry else {}
        try:
            wish = gemini.read_request(entry.get("request"))
        except BadRequest as e:
            return {"error": {"code": 3, "message": str(e)}, **metadata}
        now = self.service.now()
        call = Call(now, fingerprint(job.key), job.project, job.model, wish.clause_sha256, wish.sha256, False, done=now)
        self.service.calls.append(call)
        try:
            reply = self.service.answer(wish, self.service.draw_fault(wish), call)
        except ServerFault as e:
            call.outcome = e.kind
            return {"error": {"code": 13, "message": "Internal error."}, **metadata}
        return {"response": gemini.write_reply(reply, job.model), **metadata}
