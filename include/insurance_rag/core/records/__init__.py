"""Typed records that cross a file or a stage. Field names and type names are those of the files on disk."""

from __future__ import annotations

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import (
    GENERATED_TYPES,
    REFUSAL,
    Answer,
    ApiKey,
    Chunk,
    ChunkMetadata,
    Finding,
    QAPair,
    Question,
    QuestionType,
    Record,
    Shard,
    Verdict,
)
from insurance_rag.core.records.progress import ProgressState
from insurance_rag.core.records.training import (
    AdapterArtifact,
    AdapterVersion,
    ExportArtifact,
    ExportManifest,
    LossRow,
    MemoryPlan,
    SkippedRow,
    TrainingDataset,
    TrainingManifest,
    TrainingRow,
)

__all__ = [
    "GENERATED_TYPES",
    "REFUSAL",
    "AdapterArtifact",
    "AdapterVersion",
    "Answer",
    "ApiKey",
    "Artifact",
    "Chunk",
    "ChunkMetadata",
    "ExportArtifact",
    "ExportManifest",
    "Finding",
    "LossRow",
    "MemoryPlan",
    "ProgressState",
    "QAPair",
    "Question",
    "QuestionType",
    "Record",
    "Shard",
    "SkippedRow",
    "TrainingDataset",
    "TrainingManifest",
    "TrainingRow",
    "Verdict",
]
