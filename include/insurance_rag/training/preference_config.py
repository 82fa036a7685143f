"""Translate a recipe with an objective on preference pairs into the arguments of TRL's DPO trainer.

This module imports torch and trl at import time, so import it inside the function that trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trl import DPOConfig

from insurance_rag.config import TrainingConfig
from insurance_rag.core.records import MemoryPlan
from insurance_rag.training.sft_config import common_arguments, use_one_gpu


@dataclass
class OrpoConfig(DPOConfig):
    """Arguments of `OrpoTrainer`. TRL's own ORPO trainer is experimental and keeps the logits of whole sequences."""

    completion_only_loss: bool = True
    """Whether the supervised loss is computed on the chosen answer only, and not also on the prompt."""


def preference_config(config: TrainingConfig, plan: MemoryPlan, output_dir: Path, *, evaluate: bool) -> DPOConfig:
    """Return the trainer's arguments. Checkpoints go to `output_dir`; `evaluate` says if there are held-out pairs."""
    args = DPOConfig(**_arguments(config, plan, output_dir, evaluate=evaluate))
    use_one_gpu(args)
    return args


def orpo_config(config: TrainingConfig, plan: MemoryPlan, output_dir: Path, *, evaluate: bool) -> OrpoConfig:
    """Return the arguments of the trainer without a reference model, like `preference_config`."""
    arguments = _arguments(config, plan, output_dir, evaluate=evaluate)
    args = OrpoConfig(**arguments, completion_only_loss=config.completion_only_loss)
    use_one_gpu(args)
    return args


def _arguments(config: TrainingConfig, plan: MemoryPlan, output_dir: Path, *, evaluate: bool) -> dict[str, object]:
    preference = config.preference
    return {
        **common_arguments(config, plan, output_dir, evaluate=evaluate),
        "beta": preference.beta,
        "loss_type": [preference.loss_type, "sft"],
        "loss_weights": [1.0, preference.sft_weight],
        "label_smoothing": preference.label_smoothing,
        "disable_dropout": not config.lora.dropout,  # TRL would ignore the recipe's dropout
        "max_length": None,  # the encoded pairs already respect the recipe's limit
        "padding_free": False,
    }
