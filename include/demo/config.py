"""Settings of the demo's tiny base model."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.config_base import Config


class PretrainConfig(Config):
    """How the demo's tiny base model is trained from scratch."""

    vocab_size: int = Field(default=3000, ge=300)
    """Size of the byte-level BPE vocabulary, including the 256 bytes and three special tokens."""
    hidden: int = Field(default=192, ge=192, multiple_of=192)
    """Hidden size: three attention heads of 64 dimensions, as 64 is the block size of NF4."""
    layers: int = Field(default=2, ge=2)
    """Number of layers; copying from the context needs at least two."""
    context: int = Field(default=1024, ge=64)
    """Longest input in tokens: an instruction, three chunks, a question and its answer."""
    steps: int = Field(default=300, ge=1)
    """Optimizer steps."""
    tokens_per_step: int = Field(default=2048, ge=64)
    """Tokens per optimizer step, padding included."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Learning rate of Muon for the weight matrices; AdamW trains embeddings and norms with a quarter of it."""
    seed: int = 42
    """Seed of the initial weights and of the training data."""
