"""Records of the training stage: dataset rows as training reads them, the loss history, and manifests."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from insurance_rag.core.records.artifacts import Artifact
from insurance_rag.core.records.data import Record
from insurance_rag.core.records.split import HeldOut

AnsweringVersion = Literal["v1", "v2", "v3", "v4"]
"""Versions of the adapters that answer questions."""
AdapterVersion = Literal["v1", "v2", "v3", "v4", "verifier"]
Quantization = Literal["nf4", "none"]
ComputeDtype = Literal["bf16", "fp32"]


class TrainingRow(BaseModel):
    """One row of a training file: a prompt and the answer to learn. Other fields in the file are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str
    """Text up to the point where the model's answer begins."""
    completion: str
    """The answer."""
    chunk_id: str | None = None
    instruction: str | None = None
    """The question."""
    input: str | None = None
    """Texts of the chunks in the prompt."""
    context: str | None = None
    """The chunks as they appear in the prompt, including headers; None if they are the same as `input`."""
    output: str | None = None
    """The answer without the end-of-text token."""
    evidence: str | None = None
    """Quote from the chunk that supports the answer."""


class TrainingPair(BaseModel):
    """One row of a preference file: a prompt with a good and a bad answer. Other fields in the file are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str
    """Text up to the point where the model's answer begins."""
    chosen: str
    """The better answer."""
    rejected: str
    """The worse answer to the same prompt."""
    kind: str | None = None
    """How the pair was made."""
    chunk_id: str | None = None
    input: str | None = None
    """Texts of the chunks in the prompt."""
    context: str | None = None
    """The chunks as they appear in the prompt, including headers; None if they are the same as `input`."""
    evidence: str | None = None
    """Quote from the chunk that supports the chosen answer."""


class LossRow(Record):
    """One line of loss_history.jsonl: the metrics logged at one optimizer step."""

    step: int
    epoch: float | None = None
    loss: float | None = None
    """Mean loss per trained token since the previous row."""
    eval_loss: float | None = None
    """Mean loss per trained token on the held-out rows; None at steps where it was not measured."""
    eval_decision_accuracy: float | None = None
    """Share of held-out rows whose answer rightly begins with a refusal or an answer: mean of the two shares below."""
    eval_refusals_right: float | None = None
    """Share of the held-out refusals that the model begins as a refusal."""
    eval_answers_right: float | None = None
    """Share of the other held-out answers that the model does not begin as a refusal."""
    learning_rate: float | None = None
    grad_norm: float | None = None
    num_tokens: float | None = None
    """Number of tokens seen since the start of the run, without padding."""
    mean_token_accuracy: float | None = None
    rewards_accuracy: float | None = None
    """Share of the pairs whose chosen answer has the higher reward. None if the adapter does not learn from pairs."""
    rewards_margin: float | None = None
    """Mean difference between the rewards of the chosen and the rejected answer."""
    eval_rewards_accuracy: float | None = None
    """`rewards_accuracy` on the held-out pairs; None at steps where it was not measured."""
    eval_rewards_margin: float | None = None
    """`rewards_margin` on the held-out pairs; None at steps where it was not measured."""


class SkippedRow(Record):
    """A row that was skipped because it exceeds the maximum length."""

    row: int
    """Position of the row in the file, starting at 1."""
    tokens: int
    chunk_id: str | None = None


class TrainingDataset(Record):
    """The file that an adapter was trained on."""

    uri: str
    """Absolute path."""
    sha256: str
    rows: int
    """Number of rows that were trained on, not counting skipped ones."""
    heldout_documents: list[str] | None = None
    """Documents that no training row is about; None if the dataset has no report that lists them."""
    heldout_sections: list[str] = Field(default_factory=list)
    """Sections that no training row is about, if sections are held out instead of documents."""
    heldout_chunks: list[str] = Field(default_factory=list)
    """Ids of chunks that no training row is about, if single chunks are held out."""

    @property
    def held_out(self) -> HeldOut | None:
        """What was held out; None if it was not recorded."""
        if self.heldout_documents is None:
            return None
        return HeldOut(documents=self.heldout_documents, sections=self.heldout_sections, chunks=self.heldout_chunks)


class ReplayData(Record):
    """The general dataset from which a share of the training rows was taken."""

    uri: str
    """Absolute path."""
    sha256: str
    rows: int
    """Number of its rows that were trained on, in addition to the rows of the dataset."""


class MemoryPlan(Record):
    """The memory settings of a training run, with a value for every setting that the recipe left at `auto`."""

    per_device_train_batch_size: int
    """Number of rows per forward pass on one device (the micro-batch)."""
    gradient_accumulation_steps: int
    """Number of micro-batches per optimizer step on one device."""
    gradient_checkpointing: bool
    double_quantization: bool
    optim: str
    compute_dtype: ComputeDtype
    adapter_dtype: ComputeDtype
    use_liger_kernel: bool
    estimate_gib: float
    """Estimated peak device memory in GiB."""
    preset: str
    """Name of the memory preset, or `micro-batch N` for settings that are not a preset."""

    def __str__(self) -> str:
        checkpointing = "checkpointing" if self.gradient_checkpointing else "no checkpointing"
        return (
            f"preset {self.preset}: {self.per_device_train_batch_size} rows x {self.gradient_accumulation_steps}, "
            f"{checkpointing}, {self.optim}, {self.compute_dtype}, about {self.estimate_gib:.1f} GiB"
        )


class TrainingManifest(Record):
    """training.json of an adapter folder: what was trained, on which data, and with what result. It is written last."""

    version: AdapterVersion
    recipe: str
    """Name of the recipe."""
    seed: int
    """Seed of the training run."""
    prompt_format: str
    """Prompt format that the adapter was trained on; questions to the adapter must use the same format."""
    base_model: str
    """Hugging Face name or absolute path, as given to `train`."""
    base_revision: str | None
    """Commit hash of a Hugging Face base model; None for a local folder."""
    quantization: Quantization
    """How the base model was quantized."""
    dataset: TrainingDataset
    replay: ReplayData | None = None
    """Rows of a general dataset that were mixed into the training rows; None if there were none."""
    heldout_rows: int
    contexts_truncated: int
    """Number of rows whose context was cut at the end of a sentence to fit the maximum length."""
    rows_skipped: list[SkippedRow]
    """Rows that were skipped because they exceed the maximum length."""
    steps: int
    """Number of optimizer steps."""
    epochs: float
    """Number of times that the run went through the training rows; below 1 if it did not use all of them."""
    loss: float
    """Mean training loss."""
    eval_loss: float | None
    """Loss on the held-out rows at the end; None if there are no held-out rows."""
    eval_rewards_accuracy: float | None = None
    """Share of the held-out pairs whose chosen answer has the higher reward at the end. None if there are none."""
    eval_rewards_margin: float | None = None
    """Mean difference between the rewards of the chosen and the rejected held-out answers at the end."""
    tokens_per_s: int
    """Training speed in tokens per second, without padding. If the run was resumed, only its last process counts."""
    peak_gib: float
    """Peak of the allocated GPU memory, or of the process memory on a CPU, in GiB."""
    estimate_gib: float
    micro_batch_pieces: int
    """Number of pieces that each micro-batch was split into after the memory ran out; 1 if it never ran out."""
    seconds: float
    device: str
    plan: MemoryPlan
    settings: dict[str, JsonValue]
    """The `TrainingConfig` that was used."""
    fingerprint: str
    """Identifies the settings, the data and the base model. Equal fingerprints mean the same training run."""
    recipe_fingerprint: str
    """Identifies everything that the adapter was trained with, except the seed. Adapters whose `recipe` and
    `recipe_fingerprint` are equal differ only in the seed."""


class AdapterArtifact(Artifact):
    """A trained adapter folder."""

    version: AdapterVersion
    recipe: str
    seed: int
    prompt_format: str
    rows: int
    steps: int
    loss: float
    eval_loss: float | None
    tokens_per_s: int
    peak_gib: float
    seconds: float


class TrainedSeeds(Record):
    """Result of `train --seeds N`: the adapters of one recipe, which differ only in the seed."""

    recipe: str
    adapters: list[AdapterArtifact]
    """One adapter per seed, smallest seed first."""


class ExportManifest(Record):
    """export.json in the folder of a merged model. It describes the adapter that was merged into the base model."""

    adapter: str
    """Absolute path of the adapter folder."""
    training: TrainingManifest


class ExportArtifact(Artifact):
    """Folder of a model that was made by merging an adapter into its base model."""

    version: AdapterVersion
    prompt_format: str
    parameters: int
    dtype: Literal["bfloat16"]
    base_revision: str | None
