"""Records that the tasks of a DAG run pass to each other: the run folder, its shards, and the jobs for the GPU."""

from __future__ import annotations

from pydantic import ConfigDict

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record


class RunArtifact(Artifact):
    """A run folder whose configuration was checked: `uri` is the folder, `sha256` the hash of its config.json."""

    rows: int
    """Chunks of the input."""
    questions: int
    """Evaluation questions of the input."""


class ShardArtifact(Artifact):
    """One shard of a plan: `uri` is the plan.json, `sha256` its hash when the shard was planned."""

    run: str
    """Absolute path of the run folder."""
    shard: int
    """1-based number of the shard."""
    label: str
    key_id: str
    """Airflow connection of the API key that answers the shard."""
    rows: int
    """Chunks of the shard."""


class PublishedDataset(Record):
    """published/qa_dataset.json: the dataset that is published now."""

    uri: str
    """Absolute path of the dataset folder."""
    sha256: str
    rows: int
    """Generated rows that were validated."""
    data_sha256: str
    """Hash of the training files only: it changes if and only if the rows change."""
    run: str
    """Absolute path of the run folder that the dataset was made in."""


class PretrainJob(Record):
    """Arguments of the `pretrain` command: train the demo's base model into `uri`."""

    uri: str
    chunks: str


class BaseModelArtifact(Artifact):
    """The folder of a base model that `pretrain` trained. The figures in its result are ignored here."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class TrainingJob(Record):
    """Arguments of the `train` command: train one adapter into `uri`."""

    uri: str
    recipe: str
    dataset: str
    base_model: str
    settings: list[str]
    """`key=value` settings that override the recipe."""


class EvaluationJob(Record):
    """Arguments of the `evaluate` command: compare the base model and the adapters in `uri`."""

    uri: str
    chunks: str
    questions: str
    limit: int | None
    """Number of questions to ask; None asks all."""
    base_model: str
    adapters: dict[str, str]
    """Name -> folder."""
