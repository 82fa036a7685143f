"""Settings for training the demo's tiny base model."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.config_base import Config


class PretrainConfig(Config):
    """Settings for training the demo's tiny base model from scratch."""

    vocab_size: int = Field(default=3000, ge=300)
    """Size of the byte-level BPE vocabulary, including 256 single-byte tokens and three special tokens."""
    hidden: int = Field(default=192, ge=192, multiple_of=192)
    """Hidden size. Each of the three attention heads gets a third of it. The third is a multiple of the block size of
    NF4, which is 64."""
    layers: int = Field(default=2, ge=2)
    """Number of layers. Copying text from the context requires at least two."""
    context: int = Field(default=1024, ge=64)
    """Maximum number of tokens in a sequence. The default has room for an instruction, three chunks and a QA pair."""
    steps: int = Field(default=300, ge=1)
    """Number of optimizer steps."""
    tokens_per_step: int = Field(default=2048, ge=64)
    """Approximate number of tokens per optimizer step, including padding."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Learning rate of the Muon optimizer, which trains the weight matrices. AdamW trains all other weights with a
    quarter of this rate."""
    seed: int = 42
    """Seed for the initial weights and the training data."""
