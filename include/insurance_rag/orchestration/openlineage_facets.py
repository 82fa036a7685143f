"""Turns the lineage of a task into OpenLineage's classes. Only imported if the OpenLineage provider is installed.

Standard facets say what OpenLineage has words for: schema, rows, versions, assertions about rows. The facets of this
project (see `openlineage_types`) add how an adapter was trained, how models answered, what the gate decided, which rows
were dropped, and what the teacher cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args, get_type_hints
from urllib.parse import urlsplit

from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.sdk import Asset
from openlineage.client.event_v2 import Dataset, InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    InputDatasetFacet,
    OutputDatasetFacet,
    RunFacet,
    data_quality_assertions_dataset,
    dataset_type_dataset,
    dataset_version_dataset,
    input_statistics_input_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

from insurance_rag.core.artifact_store.locations import public_text
from insurance_rag.core.records import EvaluationArtifact, TrainingManifest, ValidationReport
from insurance_rag.core.records.promotion import Decision
from insurance_rag.core.records.statistics import Rate
from insurance_rag.core.records.usage import Usage
from insurance_rag.orchestration.lineage import LineageData, TaskLineage
from insurance_rag.orchestration.openlineage_types import (
    DecisionDatasetFacet,
    EvaluationDatasetFacet,
    ModelDatasetFacet,
    UsageRunFacet,
    ValidationDatasetFacet,
)

HUGGING_FACE = "https://huggingface.co"


def operator_lineage(
    lineage: TaskLineage, inlets: Iterable[object] = (), outlets: Iterable[object] = ()
) -> OperatorLineage:
    """Return what the OpenLineage provider expects from an operator, with the task's assets as further datasets."""
    facets: dict[str, RunFacet] = {}
    if lineage.usage:
        facets["insuranceRag_usage"] = _usage_facet(lineage.usage, lineage.model)
    return OperatorLineage(
        inputs=[*map(_input, lineage.inputs), *map(_asset, _assets(inlets))],
        outputs=[*map(_output, lineage.outputs), *map(_asset, _assets(outlets))],
        run_facets=facets,
    )


def dataset_name(uri: str, *, model: bool = False) -> tuple[str, str]:
    """Return namespace and name of a path or URI by OpenLineage's naming rules.

    A model that is not a path has the namespace of Hugging Face. A path in the scratch folder stands for an object.
    """
    uri = public_text(uri)
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        path = uri.removeprefix("file://")
        return (HUGGING_FACE, path) if model and not path.startswith("/") else ("file", path)
    bucket = parts.netloc.rpartition("@")[2]  # without the Airflow connection of the bucket
    return f"{parts.scheme}://{bucket}", parts.path.strip("/") or "/"


def _assets(items: Iterable[object]) -> list[Asset]:
    return [item for item in items if isinstance(item, Asset)]


def _asset(asset: Asset) -> Dataset:
    namespace, name = dataset_name(asset.uri)
    return Dataset(namespace=namespace, name=name)


def _input(data: LineageData) -> InputDataset:
    namespace, name = dataset_name(data.uri, model=data.kind == "MODEL")
    facets: dict[str, InputDatasetFacet] = {}
    if data.rows is not None:
        facets["inputStatistics"] = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=data.rows)
    if data.validation:
        facets["dataQualityAssertions"] = _assertions(data.validation)
    return InputDataset(namespace=namespace, name=name, facets=_dataset_facets(data), inputFacets=facets)


def _output(data: LineageData) -> OutputDataset:
    namespace, name = dataset_name(data.uri, model=data.kind == "MODEL")
    facets: dict[str, OutputDatasetFacet] = {}
    if data.rows is not None:
        facets["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=data.rows
        )
    own = _own_facets(data)
    return OutputDataset(namespace=namespace, name=name, facets={**_dataset_facets(data), **own}, outputFacets=facets)


def _dataset_facets(data: LineageData) -> dict[str, DatasetFacet]:
    """Return the standard facets that an input and an output have."""
    facets: dict[str, DatasetFacet] = {"datasetType": dataset_type_dataset.DatasetTypeDatasetFacet(data.kind)}
    if data.sha256:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=data.sha256)
    if data.row_type:
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=_fields(data.row_type))
    return facets


def _own_facets(data: LineageData) -> dict[str, DatasetFacet]:
    """Return the facets of this project that an output has."""
    facets: dict[str, DatasetFacet] = {}
    if data.validation:
        facets["insuranceRag_validation"] = _validation_facet(data.validation)
    if data.training:
        facets["insuranceRag_model"] = _model_facet(data.training)
    if data.evaluation:
        facets["insuranceRag_evaluation"] = _evaluation_facet(data.evaluation)
    if data.decision:
        facets["insuranceRag_decision"] = _decision_facet(data.decision)
    return facets


def _fields(row_type: type) -> list[schema_dataset.SchemaDatasetFacetFields]:
    hints = get_type_hints(row_type)
    return [
        schema_dataset.SchemaDatasetFacetFields(name=name, type=_type_name(hint))
        for name, hint in hints.items()
        if not name.startswith(("_", "model_"))
    ]


def _type_name(hint: object) -> str:
    """Return the name of a type as it is written in Python, e.g. `str` or `dict[str, int]`."""
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def _assertions(report: ValidationReport) -> data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet:
    """Return one assertion per validation rule. It succeeds if the rule dropped no row; a drop stops nothing."""
    return data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
        assertions=[
            data_quality_assertions_dataset.Assertion(
                assertion=rule, success=not rows, severity="warn", expected="0", actual=str(rows)
            )
            for rule, rows in report.drops.items()
        ]
    )


def _usage_facet(usage: Usage, model: str) -> UsageRunFacet:
    return UsageRunFacet(
        model=model,
        calls=usage.calls,
        requests429=usage.requests_429,
        tokensIn=usage.tokens_in,
        tokensOut=usage.tokens_out,
        costUsd=usage.cost_usd,
    )


def _validation_facet(report: ValidationReport) -> ValidationDatasetFacet:
    return ValidationDatasetFacet(rows=report.rows, accepted=report.kept, rejected=dict(report.drops))


def _model_facet(manifest: TrainingManifest) -> ModelDatasetFacet:
    return ModelDatasetFacet(
        baseModel=manifest.base_model,
        baseRevision=manifest.base_revision,
        recipe=manifest.recipe,
        version=manifest.version,
        seed=manifest.seed,
        promptFormat=manifest.prompt_format,
        rows=manifest.dataset.rows,
        steps=manifest.steps,
        loss=manifest.loss,
        heldOutLoss=manifest.eval_loss,
        peakGib=manifest.peak_gib,
        seconds=manifest.seconds,
        fingerprint=manifest.fingerprint,
    )


def _evaluation_facet(evaluation: EvaluationArtifact) -> EvaluationDatasetFacet:
    return EvaluationDatasetFacet(
        questions=evaluation.questions,
        correct=_known_rates(evaluation.correct),
        hallucination=_known_rates(evaluation.hallucination),
    )


def _known_rates(rates: Mapping[str, Rate]) -> dict[str, float]:
    return {name: rate.rate for name, rate in rates.items() if rate.rate is not None}


def _decision_facet(decision: Decision) -> DecisionDatasetFacet:
    return DecisionDatasetFacet(
        decision=decision.decision, model=decision.model, champion=decision.champion, reason=decision.reason
    )
