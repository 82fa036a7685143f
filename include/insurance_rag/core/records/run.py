"""Records that the tasks of a DAG run pass to each other: the run folder, its shards, and jobs for the GPU."""

from __future__ import annotations

from pydantic import ConfigDict

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record
from insurance_rag.core.records.planning import GenerationEstimate
from insurance_rag.core.records.promotion import DecisionKind


class RunArtifact(Artifact):
    """A run folder with a validated configuration: `uri` is the folder, `sha256` the hash of its config.json."""

    rows: int | None
    """Number of chunks in the input; None if the chunks are made from documents later in the run."""
    questions: int | None
    """Number of evaluation questions in the input; None if it is only known later in the run."""
    estimate: GenerationEstimate | None = None
    """What generating all pairs would need if no answer could be reused; None if the run generates none."""


class ShardArtifact(Artifact):
    """One shard of a plan: `uri` is the path of plan.json, `sha256` the hash of plan.json at planning time."""

    run: str
    """Absolute path of the run folder."""
    shard: int
    """Number of the shard, starting at 1."""
    label: str
    key_id: str
    """Airflow connection that holds the shard's API key."""
    rows: int
    """Number of chunks in the shard."""


class PublishedChunks(Record):
    """published/chunks.json: the chunk file that the newest run reads, or that it made from documents."""

    uri: str
    """Absolute path of the chunk file."""
    sha256: str
    rows: int
    documents: list[str]
    """Documents that the chunks were made from; empty if the run starts from the chunk file."""
    run: str
    """Absolute path of the run folder."""


class PublishedDataset(Record):
    """published/qa_dataset.json: the dataset that is currently published."""

    uri: str
    """Absolute path of the dataset folder."""
    sha256: str
    rows: int
    """Number of generated rows that were validated."""
    data_sha256: str
    """Hash of the training files only. It changes if and only if the rows change."""
    run: str
    """Absolute path of the run folder that contains the dataset."""
    chunks: str
    """Chunk file that the rows were generated from."""
    documents: list[str]
    """Documents that the chunks were made from; empty if the run started from the chunk file. Their next edition is
    compared with `chunks`."""


class QuestionSetArtifact(Artifact):
    """A set of evaluation questions that fits the chunks of a run."""

    questions: int
    flagged: int
    """Number of questions whose chunks have changed since the questions were made."""
    left_out: int
    """Number of questions that cannot be used any more, because their chunk no longer gives the answer."""
    check: str | None
    """File that says which questions are flagged; None if the questions were made from these chunks."""


class PublishedAdapters(Record):
    """published/adapters.json: the newest adapters that a run trained."""

    run: str
    """Absolute path of the run folder."""
    base_model: str
    adapters: dict[str, str]
    """Adapter name -> folder."""
    sha256: dict[str, str]
    """Adapter name -> hash of the folder; an adapter from an earlier run has none here."""
    rows: int
    """Largest number of rows that one of the adapters was trained on."""
    gpu_seconds: float
    """Seconds that the training of the adapters took together."""


class PublishedDecision(Record):
    """published/decision.json: the newest decision of the promotion gate."""

    uri: str
    """Absolute path of decision.json."""
    sha256: str
    questions: int
    """Number of questions that the decision is based on."""
    decision: DecisionKind
    model: str | None
    """The best challenger; None if no adapter was evaluated."""
    champion: str
    reason: str


class PublishedQuestions(Record):
    """published/questions.json: the question set that is currently published."""

    uri: str
    """Absolute path of the frozen set."""
    sha256: str
    questions: int
    sources: list[str]
    """Documents, or the chunk file, that the questions were made from."""
    chunks: str
    """Chunk file that the questions were made from."""


class PretrainJob(Record):
    """Arguments of the `pretrain` command, which trains the demo's base model and writes it to `uri`."""

    uri: str
    chunks: str


class BaseModelArtifact(Artifact):
    """Folder of a base model that `pretrain` trained. Other fields in the result of `pretrain` are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class TrainingJob(Record):
    """Arguments of the `train` command, which trains one adapter and writes it to `uri`."""

    uri: str
    recipe: str
    dataset: str
    base_model: str
    settings: list[str]
    """Settings that override the recipe, in the form `key=value`."""


class EvaluationJob(Record):
    """Arguments of the `evaluate` command, which compares the base model with the adapters and writes to `uri`."""

    uri: str
    chunks: str
    questions: str
    limit: int | None
    """Number of questions to evaluate; None evaluates all."""
    base_model: str
    adapters: dict[str, str]
    """Adapter name -> folder."""
    settings: list[str]
    """Command-line options that set the evaluation settings."""
