"""Settings of a training: the recipe of one adapter."""

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
    """The adapter's output is scaled by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input. The reference design uses 0.05, which costs 3 % of speed and some memory."""
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Linear layers that get an adapter. Do not name `lm_head`: TRL's fused loss would not train its adapter."""


class TrainingConfig(Config):
    """A recipe: how one adapter is trained. Settings that are `auto` are decided by the memory preset.

    A setting that means the same as one of transformers, TRL or peft has the same name.
    """

    version: AdapterVersion
    """Version name of the adapter."""
    prompt_format: Annotated[str, Choice("prompt format")]
    """Prompt format of the training rows; it also names the file of the dataset folder that is read."""
    base_revision: str | None = None
    """Commit of a Hugging Face base model. None uses the latest; the adapter records which one that was."""
    quantization: Quantization = "nf4"
    """nf4: base model in 4 bits (QLoRA); none: base model in 16 bits, which is faster but needs more memory."""
    double_quantization: bool | Literal["auto"] = "auto"
    """Also quantize the scales of NF4: saves 0.4 bits per weight, 3 % slower."""
    lora: LoraSettings = LoraSettings()
    """Size and placement of the LoRA adapter."""
    compute_dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the base model and its activations; auto: bf16 on a GPU, fp32 on a CPU.

    fp16 is not available: TRL keeps QLoRA adapters in bf16, on which the gradient scaler of fp16 fails (trl #4901)."""
    adapter_dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the adapter's weights; auto: the same as `compute_dtype`."""
    num_train_epochs: float = Field(default=1.0, gt=0)
    """Length of the run in epochs; ignored if `max_steps` is set."""
    max_steps: int | None = Field(default=None, ge=1)
    """Length of the run in optimizer steps."""
    batch_size: int = Field(default=8, ge=1)
    """Rows per optimizer step, over all devices."""
    memory_preset: Literal["auto", "8GB", "24GB", "80GB"] = "auto"
    """Layout for a GPU of this size; auto: the fastest layout that is estimated to fit the free memory."""
    per_device_train_batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Rows per forward pass on one device; gradients are accumulated until `batch_size` is reached."""
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Recompute activations in the backward pass: a third slower, with a fraction of the memory."""
    optim: str = "auto"
    """Optimizer, by its name in transformers; auto: adamw_torch_fused, or adamw_8bit in the 8GB preset."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Highest learning rate, reached after the warm-up."""
    warmup_steps: float = Field(default=10, ge=0)
    """Steps of warm-up; a value below 1 is a fraction of the run."""
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    """How the learning rate changes after the warm-up."""
    max_length: int = Field(default=2048, ge=16)
    """Longest row in tokens; `overlong` says what happens to longer ones."""
    overlong: Literal["cut_context", "skip"] = "cut_context"
    """Rows over `max_length`: cut their context at the end of a sentence, or skip them. Answers are never cut."""
    completion_only_loss: bool = True
    """Compute the loss on the answer only; false: on the prompt and the answer."""
    append_eos: bool = True
    """End every answer with the end-of-text token of the base tokenizer, so that the model learns to stop."""
    padding_free: bool = True
    """Put the rows of a micro-batch into one sequence without padding, with variable-length attention."""
    use_liger_kernel: bool | Literal["auto"] = "auto"
    """Liger kernels for norm, rotary embedding and SwiGLU; auto: on a GPU, if the package is installed."""
    torch_compile: bool = False
    """Compile each layer with torch.compile: costs about a minute once, worthwhile for runs over ten minutes."""
    prepare_for_kbit_training: bool = False
    """Call peft's `prepare_model_for_kbit_training`, which casts norms and embeddings to fp32: 17 % slower."""
    eval_steps: int | None = Field(default=50, ge=1)
    """Steps between two measurements of the held-out loss; None measures it only at the end."""
    eval_rows: int = Field(default=64, ge=1)
    """Number of held-out rows that the loss is measured on."""
    early_stopping_patience: int | None = Field(default=None, ge=1)
    """Stop after this many measurements without a better held-out loss, and keep the best adapter."""
    save_steps: int = Field(default=50, ge=1)
    """Steps between two checkpoints; an interrupted run resumes from the last one."""
    logging_steps: int = Field(default=10, ge=1)
    """Steps between two rows of loss_history.jsonl."""
    report_to: tuple[Literal["tensorboard", "mlflow", "wandb", "trackio"], ...] = ("tensorboard",)
    """Trackers that also get the figures; all but tensorboard need a package of their own."""
    gpus: int = Field(default=1, ge=1)
    """Number of GPUs of this machine to train on, one process per GPU; they share `batch_size`."""
    fsdp: bool = False
    """Shard base model and adapter over the GPUs, for models that do not fit one; false: every GPU holds a copy."""
    seed: int = 42
    """Seed of adapter weights, row order and dropout."""
