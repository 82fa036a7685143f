"""Build the trainer for a recipe, and train on prompts and answers. `preference_trainer` trains on preference pairs.

This module imports torch and trl at import time, so import it inside the function that trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import Dataset
from transformers import EarlyStoppingCallback, PrinterCallback
from transformers.trainer_utils import EvalLoopOutput
from trl import SFTTrainer

from insurance_rag.config import TrainingConfig
from insurance_rag.training.base_trainer import BaseAdapterTrainer
from insurance_rag.training.encoding import EncodedPair, EncodedRow
from insurance_rag.training.fast_layers import use_fast_layers
from insurance_rag.training.first_tokens import decision_metrics, decision_rows
from insurance_rag.training.init_adapter import load_init_weights
from insurance_rag.training.micro_batches import MicroBatch, count_rows, split_micro_batch
from insurance_rag.training.preference_config import orpo_config, preference_config
from insurance_rag.training.preference_trainer import OrpoTrainer, PreferenceTrainer
from insurance_rag.training.sft_config import sft_config
from insurance_rag.training.trainable_model import check_magnitudes, layers_are_random, lora_config
from insurance_rag.training.training_plan import TrainingPlan, replaces_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback


class AdapterTrainer(BaseAdapterTrainer, SFTTrainer):
    """Trains on prompts and answers.

    The loss of a micro-batch is the sum over its tokens, divided by the token count of the whole batch. Therefore, the
    gradients of its pieces add up to its gradient.
    """

    def row_lengths(self, rows: Dataset) -> Sequence[int]:
        """Return the number of tokens in each row."""
        return [len(ids) for ids in rows["input_ids"]]

    def count_rows(self, inputs: MicroBatch) -> int:
        """Return the number of rows in a micro-batch."""
        return count_rows(inputs)

    def split(self, inputs: MicroBatch) -> Iterator[MicroBatch]:
        """Return the micro-batch in at most `n_pieces` pieces."""
        return split_micro_batch(inputs, self.n_pieces)

    def evaluation_loop(self, *args: object, **kwargs: object) -> EvalLoopOutput:
        """Return the held-out loss, and how often the model rightly begins with a refusal or an answer."""
        output = super().evaluation_loop(*args, **kwargs)
        rows, token = decision_rows(list(self.eval_dataset), self.processing_class)
        output.metrics.update(decision_metrics(self.model, rows, token))
        return output


#: Objective -> the class of its trainer, and the function that translates a recipe into the trainer's arguments.
_TRAINERS = {
    "sft": (AdapterTrainer, sft_config),
    "dpo": (PreferenceTrainer, preference_config),
    "orpo": (OrpoTrainer, orpo_config),
}


def build_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[EncodedRow] | Sequence[EncodedPair],
    heldout: Sequence[EncodedRow] | Sequence[EncodedPair],
    config: TrainingConfig,
    plan: TrainingPlan,
    output_dir: Path,
    callbacks: Sequence[TrainerCallback],
) -> BaseAdapterTrainer:
    """Combine base model, rows and settings into a trainer; checkpoints go to `output_dir`.

    Raises InvalidInputError if a DoRA adapter cannot be placed on the base model.
    """
    patience = config.early_stopping_patience
    early_stopping = [EarlyStoppingCallback(patience)] if patience and heldout else []
    trainer_class, arguments = _TRAINERS[config.objective]
    args = arguments(config, plan, output_dir, evaluate=bool(heldout))
    if plan.gradient_checkpointing and not layers_are_random(model.config, config):
        args.activation_checkpointing_kwargs["preserve_rng_state"] = False  # saving it takes time
    trainer: BaseAdapterTrainer = trainer_class(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(list(rows)),
        eval_dataset=Dataset.from_list(list(heldout)) if heldout else None,
        processing_class=tokenizer,
        peft_config=lora_config(config),
        callbacks=[*callbacks, *early_stopping],
        adapter_dtype=plan.adapter_dtype,
    )
    check_magnitudes(trainer.model)
    load_init_weights(trainer.model, config)
    trainer.remove_callback(PrinterCallback)  # TrainingMonitor already shows these values
    if replaces_layers(config):
        trainer.stop_compiling = use_fast_layers(trainer.model, plan)
    return trainer
