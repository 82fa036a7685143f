"""The OpenLineage facets of this project. Their names begin with `insuranceRag_`.

`openlineage_schema.json` is their JSON schema. Only imported if the OpenLineage provider is installed.
"""

from __future__ import annotations

from typing import ClassVar

import attrs
from openlineage.client.facet_v2 import DatasetFacet, RunFacet

SCHEMA_URL = "https://insurance-rag.invalid/openlineage_schema.json#/$defs/"
"""Identifies the schema in `openlineage_schema.json`. Nothing is served there, because the file is in the package."""


class _OwnFacet:
    """A facet whose schema is in `openlineage_schema.json` under the name of its class."""

    @classmethod
    def _get_schema(cls) -> str:
        return SCHEMA_URL + cls.__name__


@attrs.define
class UsageRunFacet(_OwnFacet, RunFacet):
    """What the teacher's answers of one shard used and cost."""

    model: str
    calls: int
    requests429: int
    tokensIn: int
    tokensOut: int
    costUsd: float

    # Airflow masks the values of fields whose names contain `token`, because they could be secrets.
    _additional_skip_redact: ClassVar[list[str]] = ["tokensIn", "tokensOut"]


@attrs.define
class ValidationDatasetFacet(_OwnFacet, DatasetFacet):
    """How many rows validation accepted, and how many each rule rejected."""

    rows: int
    accepted: int
    rejected: dict[str, int]


@attrs.define
class ModelDatasetFacet(_OwnFacet, DatasetFacet):
    """How an adapter was trained."""

    baseModel: str
    baseRevision: str | None
    recipe: str
    version: str
    seed: int
    promptFormat: str
    rows: int
    steps: int
    loss: float
    heldOutLoss: float | None
    peakGib: float
    seconds: float
    fingerprint: str


@attrs.define
class EvaluationDatasetFacet(_OwnFacet, DatasetFacet):
    """How often each model answered correctly, and how often it hallucinated."""

    questions: int
    correct: dict[str, float]
    hallucination: dict[str, float]


@attrs.define
class DecisionDatasetFacet(_OwnFacet, DatasetFacet):
    """What the promotion gate decided."""

    decision: str
    model: str | None
    champion: str
    reason: str
