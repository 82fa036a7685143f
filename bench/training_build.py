"""Build the trainer of one configuration of the training benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.training_configurations import Run
from bench.training_runs import Result, pair_length
from bench.training_weights import EPOCHS, MAX_TOKENS, ROWS
from insurance_rag.training.encoding import EncodedPair, EncodedRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from trl import SFTTrainer

    from insurance_rag.training.base_trainer import BaseAdapterTrainer


def build_product(
    run: Run,
    weights: Path,
    rows: list[EncodedRow],
    n_steps: int,
    tokenizer: PreTrainedTokenizerBase,
    work: Path,
) -> tuple[BaseAdapterTrainer, Result]:
    """Build the trainer as `train_adapter` does. The returned Result contains the layout and the memory estimate."""
    from insurance_rag.models.base_model import load_model_config
    from insurance_rag.models.devices import find_device
    from insurance_rag.training.memory import plan_memory
    from insurance_rag.training.memory_estimate import model_shape
    from insurance_rag.training.recipe import load_recipe
    from insurance_rag.training.trainable_model import load_trainable_model
    from insurance_rag.training.trainer import build_trainer

    fixed: dict[str, object] = {
        "max_steps": n_steps,
        "logging_steps": n_steps,
        "save_steps": 1000,
        "eval_steps": None,
        "report_to": [],
    }
    config = load_recipe(run.recipe, {**run.settings, **fixed})
    pairs = make_pairs(rows) if config.objective != "sft" else []
    lengths = [pair_length(pair) for pair in pairs] or [len(row["input_ids"]) for row in rows]
    if not config.completion_only_loss:
        rows = [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in rows]
    shape = model_shape(load_model_config(str(weights)), config.lora.target_modules)
    # The measured peak includes the largest micro-batch of a full training.
    full = {"max_steps": None, "num_train_epochs": ROWS * EPOCHS / len(rows)}
    plan = plan_memory(config.model_copy(update=full), shape, lengths, find_device())
    model = load_trainable_model(str(weights), config, plan)
    trainer = build_trainer(model, tokenizer, pairs or rows, [], config, plan, work, [])
    return trainer, Result(layout=str(plan), estimate_gib=plan.estimate_gib)


def make_pairs(rows: list[EncodedRow]) -> list[EncodedPair]:
    """Return a preference pair for each row. The rejected answer is the chosen one in reverse."""
    pairs: list[EncodedPair] = []
    for row in rows:
        answer = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label >= 0]
        prompt = row["input_ids"][: len(row["input_ids"]) - len(answer)]
        pairs.append({"prompt_ids": prompt, "chosen_ids": answer, "rejected_ids": answer[::-1]})
    return pairs


def build_plain_trl(
    run: Run,
    weights: Path,
    rows: list[EncodedRow],
    n_steps: int,
    tokenizer: PreTrainedTokenizerBase,
    work: Path,
) -> tuple[SFTTrainer, Result]:
    """Build a trainer as TRL's documentation describes.

    The trainer uses an NF4 base model prepared by PEFT, gradient checkpointing, bf16 and padded batches.
    """
    import torch
    from datasets import Dataset
    from peft import LoraConfig, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    cuda = torch.cuda.is_available()
    base = AutoModelForCausalLM.from_pretrained(
        weights, dtype=torch.bfloat16, device_map={"": 0 if cuda else "cpu"}, quantization_config=quantization
    )
    trainer = SFTTrainer(
        model=prepare_model_for_kbit_training(base),
        args=SFTConfig(
            output_dir=str(work), per_device_train_batch_size=4, gradient_accumulation_steps=4, max_steps=n_steps,
            learning_rate=2e-4, warmup_steps=0.03, bf16=True, use_cpu=not cuda, optim="paged_adamw_32bit",
            max_length=MAX_TOKENS, logging_steps=n_steps, save_strategy="no", disable_tqdm=True, seed=42,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=16, lora_alpha=32, lora_dropout=0.05, task_type="CAUSAL_LM",
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        ),
    )  # fmt: skip
    return trainer, Result(layout="4 rows x 4, checkpointing, paged_adamw_32bit, completion-only, padded")
