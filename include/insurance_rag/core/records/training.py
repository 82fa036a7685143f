"""Records of the training stage: dataset rows as it reads them, the loss history, and the manifests of its results."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record

AdapterVersion = Literal["v1", "v2", "v3"]
Quantization = Literal["nf4", "none"]
ComputeDtype = Literal["bf16", "fp32"]


class TrainingRow(BaseModel):
    """One row of a training file: a prompt and the answer to learn. Further fields of the file are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str
    """Text before the answer; ends where the model's answer begins."""
    completion: str
    """The answer."""
    chunk_id: str | None = None
    instruction: str | None = None
    """The question."""
    input: str | None = None
    """The chunk, or the chunks, that the prompt contains."""
    output: str | None = None
    """The answer without an end-of-text token."""
    evidence: str | None = None
    """Quote of the chunk that supports the answer."""


class LossRow(Record):
    """One line of loss_history.jsonl: the figures of one optimizer step."""

    step: int
    epoch: float | None = None
    loss: float | None = None
    """Mean loss per trained token since the previous row."""
    eval_loss: float | None = None
    """Mean loss per trained token on the held-out rows; only at steps that measured it."""
    learning_rate: float | None = None
    grad_norm: float | None = None
    num_tokens: float | None = None
    """Tokens seen since the start of the run, without padding."""
    mean_token_accuracy: float | None = None


class SkippedRow(Record):
    """A row that was left out because it is longer than the limit."""

    row: int
    """1-based position in the file."""
    tokens: int
    chunk_id: str | None = None


class TrainingDataset(Record):
    """The file that an adapter was trained on."""

    uri: str
    """Absolute path."""
    sha256: str
    rows: int
    """Rows that were trained on, without the skipped ones."""
    heldout_documents: list[str] | None = None
    """Documents without any training row; None if the dataset has no report that lists them."""


class MemoryPlan(Record):
    """How a training is laid out on its device: the settings that the recipe left to `auto`, decided."""

    per_device_train_batch_size: int
    """Rows per forward pass on one device (the micro-batch)."""
    gradient_accumulation_steps: int
    """Micro-batches per optimizer step on one device."""
    gradient_checkpointing: bool
    double_quantization: bool
    optim: str
    compute_dtype: ComputeDtype
    adapter_dtype: ComputeDtype
    use_liger_kernel: bool
    estimate_gib: float
    """Estimated peak of the device memory."""
    preset: str
    """Name of the memory preset, or `micro-batch N` for a layout between two presets."""

    def __str__(self) -> str:
        checkpointing = "checkpointing" if self.gradient_checkpointing else "no checkpointing"
        return (
            f"preset {self.preset}: {self.per_device_train_batch_size} rows x {self.gradient_accumulation_steps}, "
            f"{checkpointing}, {self.optim}, {self.compute_dtype}, about {self.estimate_gib:.1f} GiB"
        )


class TrainingManifest(Record):
    """training.json of an adapter folder: what was trained, on what, and how it went. It is written last."""

    version: AdapterVersion
    prompt_format: str
    """Name of the prompt format that the adapter was trained on, and that it should be asked in."""
    base_model: str
    """Hugging Face name or absolute path, as given to `train`."""
    base_revision: str | None
    """Commit of a Hugging Face base model; None for a local folder."""
    quantization: Quantization
    """How the base model was loaded."""
    dataset: TrainingDataset
    heldout_rows: int
    contexts_truncated: int
    """Rows whose context was cut at a sentence to fit the length limit."""
    rows_skipped: list[SkippedRow]
    """Rows that were left out because they exceed the length limit."""
    steps: int
    """Optimizer steps."""
    loss: float
    """Mean training loss."""
    eval_loss: float | None
    """Held-out loss at the end; None without held-out rows."""
    tokens_per_s: int
    """Tokens per second without padding, over the optimizer steps of the last process."""
    peak_gib: float
    """Peak of the allocated GPU memory, or of the process memory on a CPU."""
    estimate_gib: float
    micro_batch_pieces: int
    """Pieces that each micro-batch was split into because the memory ran out; 1 if it never did."""
    seconds: float
    device: str
    plan: MemoryPlan
    settings: dict[str, JsonValue]
    """Every setting of the recipe, as the training configuration writes it."""
    fingerprint: str
    """Identity of settings, data and base model; the same fingerprint means the same training."""


class AdapterArtifact(Artifact):
    """A trained adapter folder."""

    version: AdapterVersion
    prompt_format: str
    rows: int
    steps: int
    loss: float
    eval_loss: float | None
    tokens_per_s: int
    peak_gib: float
    seconds: float


class ExportManifest(Record):
    """export.json of a merged model: the adapter it was made from."""

    adapter: str
    """Absolute path of the adapter folder."""
    training: TrainingManifest


class ExportArtifact(Artifact):
    """A folder with base and adapter merged into one model."""

    version: AdapterVersion
    prompt_format: str
    parameters: int
    dtype: Literal["bfloat16"]
    base_revision: str | None
