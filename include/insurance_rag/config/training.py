"""Settings for training one adapter (a recipe)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from insurance_rag.core.config_base import Config
from insurance_rag.core.records.training import AdapterVersion, Quantization
from insurance_rag.core.registry import Choice

Objective = Literal["sft", "dpo", "orpo"]

ALL_LINEAR = "all-linear"
"""Value of `target_modules` that selects every linear layer except the output head."""

#: Initializations of peft that are not offered, and why.
_REJECTED_INITIALIZATIONS = {
    **dict.fromkeys(
        ("pissa", "olora", "corda", "loftq"),
        "changes the weights of the base model, but evaluation, export and serving attach the adapter to the unchanged "
        "base model",
    ),
    **dict.fromkeys(("eva", "lora_ga"), "needs passes over the data before training starts"),
    **dict.fromkeys(("orthogonal", "mica"), "does not work on a quantized base model"),
    "false": "changes the answers of the base model before the first step",
}


def _split_names(value: object) -> object:
    """Return `"q_proj,v_proj"` as a tuple of names. The value `all-linear` stays a text."""
    names = tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value
    return ALL_LINEAR if isinstance(names, list | tuple) and tuple(names) == (ALL_LINEAR,) else names


def _check_initialization(value: object) -> object:
    """Return the value. Raises ValueError with the reason if peft has this initialization, but it is not offered."""
    name = str(value).lower()
    reasons = [reason for start, reason in _REJECTED_INITIALIZATIONS.items() if name.startswith(start)]
    if reasons:
        raise ValueError(f"{name} {reasons[0]}; set true or gaussian")
    return value


class LoraSettings(Config):
    """Kind, size and placement of the LoRA adapter."""

    r: int = Field(default=16, ge=1)
    """Rank of the adapter."""
    alpha: int = Field(default=32, ge=1)
    """Numerator of the scaling factor for the adapter's output: alpha / r, or alpha / sqrt(r) with `use_rslora`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input. The reference design uses 0.05, which makes training 3 % slower and uses slightly
    more memory."""
    target_modules: Annotated[
        Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)], BeforeValidator(_split_names)
    ] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Linear layers that get an adapter: `all-linear` (all except the output head), or their names as a list or
    separated by commas (`q_proj,v_proj`). The output head and the embeddings cannot be adapted."""
    use_rslora: bool = False
    """Rank-stabilized LoRA: scale the adapter's output by alpha / sqrt(r). Without it, an adapter of a high rank learns
    more slowly than its rank allows."""
    use_dora: bool = False
    """DoRA: also train the norm of every row of the adapted weights. It often helps at low ranks (8 and less), but
    training is slower and needs more memory, because every forward pass dequantizes the weights to measure the
    norms."""
    init_lora_weights: Annotated[Literal[True, "gaussian"], BeforeValidator(_check_initialization)] = True
    """Initial weights of matrix A: true (uniform, as peft does it) or gaussian. B starts at zero, so training starts
    from the unchanged base model. PiSSA, OLoRA, CorDA and LoftQ are rejected because they change the base model, to
    which the adapter is attached later."""


class PreferenceSettings(Config):
    """Loss of an adapter that learns from pairs of a better (chosen) and a worse (rejected) answer to the same prompt.

    The loss is the sum of two terms: one prefers the chosen answer to the rejected one, and one is the supervised
    loss on the chosen answer. Without the second term, the adapter learns what to avoid, but not how to answer.
    """

    beta: float = Field(default=0.1, gt=0)
    """dpo: how strongly the adapter is held to the base model; a larger value permits smaller changes. orpo: weight of
    the preference term."""
    loss_type: Literal["sigmoid", "sigmoid_norm", "robust", "hinge", "ipo", "apo_zero"] = "sigmoid"
    """Preference term of dpo, by its name in TRL. sigmoid: DPO; sigmoid_norm: DPO per token, so that long answers do
    not count more; robust: DPO for pairs of which a share `label_smoothing` is swapped; hinge (SLiC), ipo and apo_zero:
    the losses of these papers."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the pairs whose two answers are swapped by mistake. It needs `loss_type: robust`."""
    sft_weight: float = Field(default=1.0, ge=0)
    """Weight of the supervised loss on the chosen answer. With 1, one stage of training is enough to start from a base
    model; use 0 only with `init_adapter`."""


class ReplaySettings(Config):
    """Rows of a general dataset that are mixed into the training rows.

    An adapter that only sees insurance questions forgets part of what the base model can do. Replay counteracts this.
    """

    file: str | None = None
    """JSON or JSON Lines file with the rows. A row has `prompt` and `completion`, or `messages` (the last one is the
    answer to learn), or `text` (all of it is learned, up to `max_length`). The rows must be in the language of the
    dataset. None: no replay. It needs `objective: sft`."""
    share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training rows that come from `file`. The seed decides which ones. Every row is used at most once, so
    the share is smaller if the file has too few rows."""


class TrainingConfig(Config):
    """A recipe: the settings for training one adapter. Settings left at `auto` are chosen to suit the device.

    A setting that also exists in transformers, TRL or peft has the same name there.
    """

    version: AdapterVersion
    """Version of the adapter."""
    prompt_format: Annotated[str, Choice("prompt format")]
    """Prompt format of the training rows. It determines which file of the dataset folder is read."""
    objective: Objective = "sft"
    """What the adapter learns from. sft: answers; dpo: pairs of a better and a worse answer, compared with the base
    model (direct preference optimization); orpo: the same pairs without a comparison with the base model (odds ratio
    preference optimization), which is faster. dpo and orpo read `train_dataset_preference.json` of the dataset
    folder."""
    preference: PreferenceSettings = PreferenceSettings()
    """Loss of the objectives dpo and orpo."""
    init_adapter: str | None = None
    """Folder of a trained adapter whose weights this adapter starts with, e.g. to learn from pairs after supervised
    training. It must have the same base model, prompt format and layers. None: start from the base model."""
    replay: ReplaySettings = ReplaySettings()
    """Rows of a general dataset that are mixed into the training rows."""
    base_revision: str | None = None
    """Commit hash of a Hugging Face base model. None uses the latest commit and records its hash with the adapter."""
    quantization: Quantization = "nf4"
    """nf4: base model in 4 bits (QLoRA); none: base model in 16 bits, which is faster but needs more memory."""
    double_quantization: bool | Literal["auto"] = "auto"
    """Also quantize the NF4 scales. This saves 0.4 bits per weight but makes training 3 % slower."""
    lora: LoraSettings = LoraSettings()
    """Kind, size and placement of the LoRA adapter."""
    compute_dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the base model and its activations; auto: bf16 on a GPU, fp32 on a CPU.

    fp16 is not available: TRL keeps QLoRA adapters in bf16, which the gradient scaler for fp16 cannot handle (trl
    #4901)."""
    adapter_dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the adapter's weights and of the optimizer's states; auto: fp32, but with `fsdp` same as
    `compute_dtype`, because FSDP needs one dtype for all weights. In bf16, steps at a low learning rate are lost: they
    are smaller than the distance between two neighbouring numbers, so most weights do not move."""
    num_train_epochs: float = Field(default=1.0, gt=0)
    """Length of the training run in epochs; ignored if `max_steps` is set."""
    max_steps: int | None = Field(default=None, ge=1)
    """Length of the training run in optimizer steps. None: `num_train_epochs` decides."""
    batch_size: int = Field(default=8, ge=1)
    """Number of rows per optimizer step, across all devices."""
    memory_preset: Literal["auto", "8GB", "24GB", "80GB"] = "auto"
    """Memory settings for a GPU of this size; auto: the fastest preset that is estimated to fit into free memory."""
    per_device_train_batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Number of rows per forward pass on one device. Gradients are accumulated over several passes to reach
    `batch_size`."""
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Recompute activations in the backward pass instead of storing them. Training is then about a third slower but
    needs only a fraction of the memory."""
    optim: str = "auto"
    """Optimizer, by its name in transformers; auto: adamw_torch_fused, or adamw_8bit with the 8GB preset."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Peak learning rate, reached at the end of the warm-up."""
    warmup_steps: float = Field(default=10, ge=0)
    """Number of warm-up steps. A value below 1 is a fraction of the training run."""
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    """How the learning rate changes after the warm-up."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of the optimizer: in each step, every weight shrinks by learning rate x weight decay."""
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay rate of the optimizer's mean of the gradients."""
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay rate of the optimizer's mean of the squared gradients."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Scale the gradient of a step down to this norm if it is larger. 0: never."""
    neftune_noise_alpha: float | None = Field(default=None, gt=0)
    """NEFTune: strength of the uniform noise that is added to the embeddings during training (the paper uses 5 to
    15). None: no noise. It needs `padding_free: false`, because the noise depends on the length of a row."""
    max_length: int = Field(default=2048, ge=16)
    """Maximum length of a row in tokens. `overlong` decides what happens to longer rows."""
    overlong: Literal["cut_context", "skip"] = "cut_context"
    """What to do with rows longer than `max_length`: cut the context at the end of a sentence, or skip the row. Answers
    are never cut."""
    completion_only_loss: bool = True
    """Compute the loss on the answer only. If false, compute it on the prompt as well."""
    append_eos: bool = True
    """End every answer with the end-of-text token of the base tokenizer, so that the model learns to stop. With the
    prompt format `chat`, the chat template decides how an answer ends, and this setting has no effect."""
    padding_free: bool = True
    """Concatenate the rows of a micro-batch into one sequence without padding and use variable-length attention."""
    use_liger_kernel: bool | Literal["auto"] = "auto"
    """Use Liger kernels for norms, rotary embeddings and SwiGLU; auto: use them on a GPU if the package is
    installed."""
    torch_compile: bool = False
    """Compile the decoder layers with torch.compile. All layers share one compiled graph, which is kept in
    `TORCHINDUCTOR_CACHE_DIR`. It is off by default because it has not been shown to pay: on an H200 it took 74 seconds
    at the start and was not faster than the 80GB preset."""
    compute: Literal["auto", "dequantize", "cached", "fp8"] = "auto"
    """How a base model in NF4 is multiplied. dequantize: convert the weights to 16 bits in every pass; cached: convert
    them once and keep them in 16 bits, which gives the same numbers and needs 10 GiB more for an 8B model;
    fp8: keep them in 8 bits, once per direction, and round the activations too, which needs as much memory as cached
    and changes the numbers by a few percent (it needs compute capability 8.9 or higher); auto: what the memory preset
    says. The speed of cached and fp8 has not been measured without torch_compile."""
    offload_activations: bool | Literal["auto"] = "auto"
    """Keep the activations that gradient checkpointing stores in host memory. This has no effect without gradient
    checkpointing, or on a CPU. auto: as the memory preset says."""
    host_embeddings: bool | Literal["auto"] = "auto"
    """Keep the input embeddings in host memory. This has no effect if the model shares them with its output head. auto:
    as the memory preset says."""
    prepare_for_kbit_training: bool = False
    """Call peft's `prepare_model_for_kbit_training`, which casts norms and embeddings to fp32. This makes
    training 17% slower."""
    eval_steps: int | None = Field(default=50, ge=1)
    """Number of steps between measurements of the held-out loss. None measures it only at the end."""
    eval_rows: int = Field(default=64, ge=1)
    """Number of held-out rows on which the loss is measured."""
    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Stop after this many measurements in a row without a better `early_stopping_metric`, and keep the best adapter.
    None: never stop early."""
    early_stopping_metric: Literal["eval_loss", "eval_decision_accuracy"] = "eval_loss"
    """What early stopping watches. eval_decision_accuracy: how often the first token of the answer to a held-out
    question is rightly that of a refusal or of an answer. The loss hardly shows this decision."""
    save_steps: int = Field(default=50, ge=1)
    """Number of steps between checkpoints. An interrupted run resumes from the latest checkpoint."""
    logging_steps: int = Field(default=10, ge=1)
    """Number of steps between rows of loss_history.jsonl."""
    report_to: tuple[Literal["tensorboard", "mlflow", "wandb", "trackio"], ...] = ("tensorboard",)
    """Trackers to which the training metrics are also sent. All except tensorboard need an additional package."""
    gpus: int = Field(default=1, ge=1)
    """Number of GPUs on this machine to train on, with one process per GPU. `batch_size` is divided among them."""
    fsdp: bool = False
    """Shard the base model and the adapter across the GPUs, for models that do not fit on one GPU. If false, every GPU
    holds a full copy."""
    seed: int = 42
    """Seed for initial adapter weights, row order and dropout."""

    @model_validator(mode="after")
    def _check_neftune(self) -> Self:
        if self.neftune_noise_alpha is not None and self.padding_free:
            raise ValueError(
                "neftune_noise_alpha needs padding_free=false: the noise is scaled by the length of a row, but "
                "padding_free turns a micro-batch into one long row; set padding_free=false"
            )
        return self

    @model_validator(mode="after")
    def _check_objective(self) -> Self:
        if problems := list(self._objective_problems()):
            raise ValueError("; also: ".join(problems))
        return self

    def _objective_problems(self) -> Iterator[str]:
        """Yield a message for each setting that does not fit the objective."""
        preference = self.preference
        if self.objective == "sft":
            return
        if self.replay.file:
            yield f"objective={self.objective} learns from pairs, but replay.file holds single answers; set it to null"
        if self.padding_free:
            yield (
                f"objective={self.objective} needs padding_free=false: the two answers of a pair are two rows of a "
                "padded batch; set padding_free=false"
            )
        if self.neftune_noise_alpha is not None:
            yield f"objective={self.objective} compares answers without noise; set neftune_noise_alpha=null"
        if self.objective == "dpo" and not self.completion_only_loss:
            yield "objective=dpo computes the loss on the answers only; set completion_only_loss=true"
        if self.objective == "orpo" and preference.loss_type != "sigmoid":
            yield f"objective=orpo has no preference.loss_type={preference.loss_type}; set sigmoid, or objective=dpo"
        if preference.label_smoothing and preference.loss_type != "robust":
            yield (
                f"preference.label_smoothing={preference.label_smoothing} needs preference.loss_type=robust; set it, "
                "or set label_smoothing=0"
            )
