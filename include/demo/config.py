"""Settings for training the demo's tiny base model."""

from __future__ import annotations

from typing import Final

from pydantic import Field, JsonValue

from insurance_rag.core.config_base import Config

#: Settings of the run that `make demo` starts. They suit a base model with a million parameters, which copies text but
#: neither paraphrases nor calculates. The answers to `fact` questions mostly have the words of the policy. A larger
#: model learns from all types, and does not need these settings.
DEMO_RUN: Final[dict[str, JsonValue]] = {
    "question_limit": None,
    "generation": {
        "types": ["fact"],
        "pairs_per_type": 4,
        "questions": {"yes_no_share": 0.0, "calculation_share": 0.0},
    },
    "validation": {
        "dataset": {
            "unanswerable_share": 0.25,
            "distractors": [1, 3],
            "context_characters": 1000,
            "contexts_per_row": 2,
        }
    },
    "training": {
        "max_steps": 90,
        "learning_rate": 0.003,
        "eval_steps": 45,
        "save_steps": 45,
        "quantization": "none",  # without a GPU, computing with 4-bit weights is slower
        "lora": {"target_modules": "all-linear"},
    },
}


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
