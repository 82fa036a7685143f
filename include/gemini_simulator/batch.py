"""Batch mode: many requests are submitted together, and all answers become available after `batch_s` seconds.

Batches do not count against the quotas, but a project may run only `max_running_batches` batches at a time. Each
request in a batch succeeds, fails or is blocked independently of the other requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from gemini_simulator import gemini_format as gemini
from gemini_simulator.errors import BadRequestError, QuotaExceededError, ServerFaultError
from gemini_simulator.json_types import JsonObject, as_list, as_object, as_text
from gemini_simulator.quota import MINUTE_S, QuotaViolation
from gemini_simulator.records import record_request
from gemini_simulator.reply import make_reply
from gemini_simulator.service import Service, key_fingerprint

_BATCH_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"


@dataclass
class SubmittedBatch:
    """A submitted batch. Its answers are computed when a client first requests the finished batch."""

    name: str
    key: str
    project: str
    model: str
    display_name: str
    requests: list[JsonValue]
    created_s: float
    """Time of submission on the simulator's clock."""
    cancelled: bool = False
    output: JsonObject | None = None


@dataclass
class BatchService:
    """The batches of a running simulator. Each key has access to all batches in its project."""

    service: Service
    batches: dict[str, SubmittedBatch] = field(default_factory=dict)
    """Batches by name."""

    def submit(self, key: str | None, model: str, body: JsonValue) -> JsonObject:
        """Start a batch and return it as an operation (Google's term for a background job).

        Raises RequestRefusedError if the key is rejected, the model does not exist, the batch is empty, or too many
        batches are running.
        """
        project = self.service.check_key(key)
        self.service.answering_model(model, "batchGenerateContent")
        batch = as_object(as_object(body).get("batch"))
        config = as_object(batch.get("inputConfig") or batch.get("input_config"))
        requests = as_list(as_object(config.get("requests")).get("requests"))
        if not requests:
            raise BadRequestError("batch.input_config.requests: at least one inlined request is required")
        limit = self.service.config.max_running_batches
        if sum(b.project == project and self._state(b) == "RUNNING" for b in self.batches.values()) >= limit:
            violations = [QuotaViolation("rpm", limit, MINUTE_S)]
            raise QuotaExceededError(violations, model, self.service.config.speed, bare=True)
        name = f"batches/{key_fingerprint(f'{key}{len(self.batches)}')}"
        display_name = as_text(batch.get("displayName") or batch.get("display_name"))
        submitted = SubmittedBatch(name, key or "", project, model, display_name, requests, self.service.now_s())
        self.batches[name] = submitted
        return self._operation(submitted)

    def get(self, key: str | None, name: str) -> JsonObject | None:
        """Return the batch as an operation, or None if the key's project has no batch with this name."""
        batch = self._find(key, name)
        return self._operation(batch) if batch else None

    def cancel(self, key: str | None, name: str) -> JsonObject | None:
        """Cancel the batch if it is still running.

        Returns an empty object, or None if the key's project has no batch with this name.
        """
        batch = self._find(key, name)
        if batch and self._state(batch) == "RUNNING":
            batch.cancelled = True
        return {} if batch else None

    def delete(self, key: str | None, name: str) -> JsonObject | None:
        """Delete the batch.

        Returns an empty object, or None if the key's project has no batch with this name.
        """
        batch = self._find(key, name)
        return {} if batch and self.batches.pop(batch.name) else None

    def list_operations(self, key: str | None) -> list[JsonObject]:
        """Return all batches in the key's project as operations."""
        project = self.service.check_key(key)
        return [self._operation(batch) for batch in self.batches.values() if batch.project == project]

    def _find(self, key: str | None, name: str) -> SubmittedBatch | None:
        project = self.service.check_key(key)
        batch = self.batches.get(name)
        return batch if batch and batch.project == project else None

    def _state(self, batch: SubmittedBatch) -> str:
        if batch.cancelled:
            return "CANCELLED"
        done = self.service.now_s() >= batch.created_s + self.service.config.batch_s
        return "SUCCEEDED" if done else "RUNNING"

    def _operation(self, batch: SubmittedBatch) -> JsonObject:
        state = self._state(batch)
        age_s = (self.service.now_s() - batch.created_s) / self.service.config.speed
        metadata: JsonObject = {
            "@type": _BATCH_TYPE,
            "name": batch.name,
            "model": f"models/{batch.model}",
            "displayName": batch.display_name,
            "state": f"BATCH_STATE_{state}",
            "createTime": _timestamp(datetime.now(UTC) - timedelta(seconds=age_s)),
            "batchStats": {"requestCount": str(len(batch.requests))},
        }
        operation: JsonObject = {"name": batch.name, "metadata": metadata}
        if state == "SUCCEEDED":
            batch.output = batch.output or {"inlinedResponses": {"inlinedResponses": self._responses(batch)}}
            metadata["output"] = batch.output
            metadata["endTime"] = _timestamp(datetime.now(UTC))
            operation |= {"done": True, "response": {"@type": _BATCH_TYPE + "Output", **batch.output}}
        elif state == "CANCELLED":
            operation |= {"done": True, "error": {"code": 1, "message": "The batch was cancelled."}}
        return operation

    def _responses(self, batch: SubmittedBatch) -> list[JsonValue]:
        return [self._response(batch, as_object(entry)) for entry in batch.requests]

    def _response(self, batch: SubmittedBatch, entry: JsonObject) -> JsonObject:
        metadata: JsonObject = {"metadata": entry["metadata"]} if "metadata" in entry else {}
        try:
            request = gemini.parse_request(entry.get("request"))
        except BadRequestError as e:
            return {"error": {"code": 3, "message": str(e)}, **metadata}
        now = self.service.now_s()
        record = record_request(now, key_fingerprint(batch.key), batch.project, batch.model, request)
        record.finished_s = now
        self.service.requests.append(record)
        try:
            reply = make_reply(self.service.config, request, self.service.next_attempt(request))
        except ServerFaultError as e:
            record.outcome = e.outcome
            return {"error": {"code": 13, "message": "Internal error."}, **metadata}
        completion, model = self.service.deliver(record, reply), self.service.answering_model(batch.model)
        return {"response": gemini.write_answer(completion, model), **metadata}


def _timestamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
