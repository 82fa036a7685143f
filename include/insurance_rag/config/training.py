"""Settings for training one adapter (a recipe)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insurance_rag.core.config_base import Config
from insurance_rag.core.records.training import AdapterVersion, Quantization
from insurance_rag.core.registry import Choice


class LoraSettings(Config):
    """Size and placement of the LoRA adapter."""

    r: int = Field(default=16, ge=1)
    """Rank of the adapter."""
    alpha: int = Field(default=32, ge=1)
    """Numerator of the scaling factor alpha / r for the adapter's output."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input. The reference design uses 0.05, which makes training 3 % slower and uses slightly
    more memory."""
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Linear layers that get an adapter. Do not list `lm_head`: TRL's fused loss would not train that adapter."""


class TrainingConfig(Config):
    """A recipe: the settings for training one adapter. Settings left at `auto` are chosen to suit the device.

    A setting that also exists in transformers, TRL or peft has the same name there.
    """

    version: AdapterVersion
    """Version of the adapter."""
    prompt_format: Annotated[str, Choice("prompt format")]
    """Prompt format of the training rows. It determines which file of the dataset folder is read."""
    base_revision: str | None = None
    """Commit hash of a Hugging Face base model. None uses the latest commit and records its hash with the adapter."""
    quantization: Quantization = "nf4"
    """nf4: base model in 4 bits (QLoRA); none: base model in 16 bits, which is faster but needs more memory."""
    double_quantization: bool | Literal["auto"] = "auto"
    """Also quantize the NF4 scales. This saves 0.4 bits per weight but makes training 3 % slower."""
    lora: LoraSettings = LoraSettings()
    """Size and placement of the LoRA adapter."""
    compute_dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the base model and its activations; auto: bf16 on a GPU, fp32 on a CPU.

    fp16 is not available: TRL keeps QLoRA adapters in bf16, which the gradient scaler for fp16 cannot handle (trl
    #4901)."""
    adapter_dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the adapter's weights; auto: same as `compute_dtype`."""
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
    max_length: int = Field(default=2048, ge=16)
    """Maximum length of a row in tokens. `overlong` decides what happens to longer rows."""
    overlong: Literal["cut_context", "skip"] = "cut_context"
    """What to do with rows longer than `max_length`: cut the context at the end of a sentence, or skip the row. Answers
    are never cut."""
    completion_only_loss: bool = True
    """Compute the loss on the answer only. If false, compute it on the prompt as well."""
    append_eos: bool = True
    """End every answer with the end-of-text token of the base tokenizer, so that the model learns to stop."""
    padding_free: bool = True
    """Concatenate the rows of a micro-batch into one sequence without padding and use variable-length attention."""
    use_liger_kernel: bool | Literal["auto"] = "auto"
    """Use Liger kernels for norms, rotary embeddings and SwiGLU; auto: use them on a GPU if the package is
    installed."""
    torch_compile: bool = False
    """Compile each layer with torch.compile. Compiling takes about a minute and pays off in runs longer than ten
    minutes."""
    prepare_for_kbit_training: bool = False
    """Call peft's `prepare_model_for_kbit_training`, which casts norms and embeddings to fp32. This makes
    training 17% slower."""
    eval_steps: int | None = Field(default=50, ge=1)
    """Number of steps between measurements of the held-out loss. None measures it only at the end."""
    eval_rows: int = Field(default=64, ge=1)
    """Number of held-out rows on which the loss is measured."""
    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Stop after this many measurements in a row without a lower held-out loss, and keep the best adapter. None: never
    stop early."""
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
