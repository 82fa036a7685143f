"""How an adapter is trained, and the demo's base model from scratch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insurance_rag.core.config_base import Config


class LoraSettings(Config):
    """The adapter's shape."""

    r: int = Field(default=16, ge=1)
    """Rank."""
    alpha: int = Field(default=32, ge=1)
    """The adapter's output is scaled by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the adapter's input. The published value is 0.05 (profile source); its masks cost 3 % of speed and memory."""
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Linear layers that get an adapter; never `lm_head`, whose adapter TRL's fused head would not train."""


class TrainingConfig(Config):
    """A recipe: how one adapter is trained. Settings that are `auto` come from the memory preset."""

    version: Literal["v1", "v2", "v3"]
    """Which of the dataset's files it trains on, and which format its prompts have."""
    base_revision: str | None = None
    """Commit of a Hugging Face base model; None takes the newest, and the adapter records which that was."""
    quantization: Literal["nf4", "none"] = "nf4"
    """nf4: 4-bit base (QLoRA); none: the base in 16 bits, faster where it fits."""
    double_quantization: bool | Literal["auto"] = "auto"
    """Quantise NF4's scales too: 0.4 bit a weight less, 3 % slower."""
    lora: LoraSettings = LoraSettings()
    compute: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of base and activations; auto: bf16 on a GPU, fp32 on a CPU.

    fp16 is not offered: TRL keeps QLoRA adapters in bf16, on which fp16's gradient scaler fails (trl #4901)."""
    adapter_dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the adapter's weights; auto: as `compute`."""
    epochs: float = Field(default=1.0, gt=0)
    """Length of the run where `max_steps` is not set."""
    max_steps: int | None = Field(default=None, ge=1)
    """Length of the run in optimizer steps."""
    batch_size: int = Field(default=8, ge=1)
    """Rows of one optimizer step over all devices."""
    memory: Literal["auto", "8GB", "24GB", "80GB"] = "auto"
    """Preset for the card; auto measures what is free and takes the fastest that an estimate says will fit."""
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Rows of one forward pass on one device; the rest of `batch_size` is accumulated."""
    checkpointing: bool | Literal["auto"] = "auto"
    """Recompute activations in the backward pass: a third slower, a fraction of the memory."""
    optimizer: str = "auto"
    """A name of transformers' `optim`; auto: adamw_torch_fused, or adamw_8bit in the 8GB preset."""
    learning_rate: float = Field(default=2e-4, gt=0)
    warmup: float = Field(default=10, ge=0)
    """Steps, or below 1 a share of the run."""
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    """How the learning rate falls after the warm-up."""
    max_length: int = Field(default=2048, ge=16)
    """Longest row in tokens; see `overlong`."""
    overlong: Literal["cut_context", "skip"] = "cut_context"
    """Rows over `max_length`: cut their clause at a sentence, or leave them out and list them. No answer is cut."""
    completion_only: bool = True
    """Loss on the answer alone; false: on prompt and answer."""
    append_eos: bool = True
    """End every answer with the base tokenizer's end-of-text token, so that the model learns to stop."""
    padding_free: bool = True
    """Rows of a micro-batch in one sequence without padding, on variable-length attention."""
    liger: bool | Literal["auto"] = "auto"
    """Liger's kernels for norm, rotary embedding and SwiGLU; auto: where they are installed and there is a GPU."""
    compile: bool = False
    """torch.compile of each layer: about a minute once, pays off in runs over ten minutes."""
    kbit_preparation: bool = False
    """peft's `prepare_model_for_kbit_training`: casts norms and embeddings to fp32, 17 % slower, for comparison."""
    eval_every: int | None = Field(default=50, ge=1)
    """Steps between two measurements of the held-out loss; None only at the end."""
    eval_rows: int = Field(default=64, ge=1)
    """Held-out rows it is measured on."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Stop after this many measurements without a better held-out loss, and keep the best adapter."""
    save_every: int = Field(default=50, ge=1)
    """Steps between two checkpoints; a stopped run goes on from the last one."""
    log_every: int = Field(default=10, ge=1)
    """Steps between two rows of loss_history.jsonl."""
    report_to: tuple[Literal["tensorboard", "mlflow", "wandb", "trackio"], ...] = ("tensorboard",)
    """Further places the figures go; each but tensorboard needs its package installed."""
    gpus: int = Field(default=1, ge=1)
    """GPUs of this machine to train on, a process each; `batch_size` is shared among them."""
    fsdp: bool = False
    """Shard base and adapter over the GPUs (for models that do not fit one); without it each GPU holds a copy."""
    seed: int = 42
    """Of adapter weights, row order and dropout."""
