"""How the demo's small base model is trained from scratch."""

from __future__ import annotations

from pydantic import Field

from insurance_rag.core.config_base import Config


class PretrainConfig(Config):
    """How the demo's small base model is trained from scratch."""

    vocab_size: int = Field(default=3000, ge=300)
    """Entries of the byte-level BPE, the 256 bytes and three special tokens among them."""
    hidden: int = Field(default=192, ge=192, multiple_of=192)
    """Width: three heads of 64, the block size of NF4."""
    layers: int = Field(default=2, ge=2)
    """Two are the least that can copy."""
    context: int = Field(default=1024, ge=64)
    """Longest input in tokens: an instruction, three clauses, a question and its answer."""
    steps: int = Field(default=300, ge=1)
    """Optimizer steps."""
    tokens_per_step: int = Field(default=2048, ge=64)
    """Tokens of a batch."""
    learning_rate: float = Field(default=0.01, gt=0)
    """Muon's rate for the layers; embeddings take a quarter of it by AdamW."""
    seed: int = 42
    """Of weights and data."""
