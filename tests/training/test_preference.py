"""Training on preference pairs: equal to plain TRL, resumable, with clear errors for pairs that cannot be learned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.conftest import QUICK, largest_difference, losses_of, manifest_of, quick, weights
from tests.training.test_memory import LLAMA_8B
from tests.training.test_resume import start_training, wait_for

from insurance_rag.cli import main as cli
from insurance_rag.config import TrainingConfig
from insurance_rag.core.adapter_folder import AdapterFolder
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import RAG
from insurance_rag.core.records import LossRow, MemoryPlan
from insurance_rag.models.devices import Device
from insurance_rag.models.tokenizer import load_training_tokenizer
from insurance_rag.training import load_recipe, train_adapter
from insurance_rag.training.memory import plan_memory
from insurance_rag.training.memory_estimate import model_shape
from insurance_rag.training.micro_batches import MicroBatch
from insurance_rag.training.preference_encoding import encode_pairs
from insurance_rag.training.preference_rows import read_pairs
from insurance_rag.training.preference_trainer import PreferenceTrainer
from insurance_rag.training.preflight import prepare_training

#: Largest difference between the loss of a step and that of plain TRL, both in fp32.
TOLERANCE = 1e-5


def pairwise(objective: str, **settings: object) -> TrainingConfig:
    """Return quick settings for an objective on pairs."""
    return quick(**{"objective": objective, "padding_free": False, "eval_steps": None, **settings})


def history_of(adapter: Path) -> list[LossRow]:
    return AdapterFolder(adapter).read_loss_history()


def texts(dataset: Path) -> list[dict[str, str]]:
    """Return the three texts of each pair, as TRL's documentation describes them."""
    rows = json.loads((dataset / "train_dataset_preference.json").read_text())
    names = ("prompt", "chosen", "rejected")
    return [{name: row[name].removesuffix(RAG.end_of_text) for name in names} for row in rows]


def plain_trainer(objective: str, base_model: Path, dataset: Path, out: Path) -> object:
    """Return the trainer that TRL's documentation describes, with its own tokenization, sampler and collator."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    own: dict[str, object] = {"beta": 0.3, "max_length": 2048}
    if objective == "dpo":
        own |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}
    trainer, config = (DPOTrainer, DPOConfig) if objective == "dpo" else (ORPOTrainer, ORPOConfig)
    arguments = {
        "output_dir": str(out), "per_device_train_batch_size": 2, "max_steps": 3, "learning_rate": 2e-3,
        "warmup_steps": 0, "lr_scheduler_type": "linear", "logging_steps": 1, "save_strategy": "no", "seed": 42,
        "bf16": False, "use_cpu": True, "gradient_checkpointing": False, "optim": "adamw_torch_fused",
        "disable_tqdm": True, "report_to": "none",
    }  # fmt: skip
    attention = ["q_proj", "k_proj", "v_proj", "o_proj"]
    return trainer(
        model=AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32),
        args=config(**arguments, **own),
        train_dataset=Dataset.from_list(texts(dataset)),
        processing_class=AutoTokenizer.from_pretrained(base_model),
        peft_config=LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM", target_modules=attention),
    )


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        ("dpo", {"preference": {"beta": 0.3, "sft_weight": 0.5}}),
        # TRL's ORPO also learns to write the prompt.
        ("orpo", {"preference": {"beta": 0.3}, "completion_only_loss": False}),
    ],
)
def test_losses_and_metrics_equal_plain_trl(
    objective: str, settings: Mapping[str, object], base_model: Path, dataset: Path, tmp_path: Path
) -> None:
    plain = plain_trainer(objective, base_model, dataset, tmp_path / "plain")
    plain.train()  # type: ignore[attr-defined]
    expected = [row for row in plain.state.log_history if "loss" in row]  # type: ignore[attr-defined]
    fixed = {
        "learning_rate": 2e-3, "warmup_steps": 0, "batch_size": 2, "max_steps": 3, "quantization": "none",
    }  # fmt: skip
    train_adapter(pairwise(objective, **fixed, **settings), dataset, str(base_model), tmp_path / "ours")
    history = history_of(tmp_path / "ours")
    assert len(history) == len(expected) == 3 and len({row["loss"] for row in expected}) == 3
    for row, theirs in zip(history, expected, strict=True):
        assert row.loss == pytest.approx(theirs["loss"], abs=TOLERANCE)
        assert row.rewards_margin == pytest.approx(theirs["rewards/margins"], abs=TOLERANCE)
        assert row.rewards_accuracy == pytest.approx(theirs["rewards/accuracies"])
        assert row.grad_norm == pytest.approx(theirs["grad_norm"], rel=1e-3)


def test_token_ids_equal_those_of_trl(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """TRL encodes prompt and answer together and splits them; the result has to be what supervised training uses."""
    theirs = plain_trainer("dpo", base_model, dataset, tmp_path).train_dataset  # type: ignore[attr-defined]
    tokenizer = load_training_tokenizer(str(base_model))
    ours = encode_pairs(read_pairs(dataset / "train_dataset_preference.json"), tokenizer, pairwise("dpo")).rows
    assert len(ours) == 16
    for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
        assert [row[name] for row in ours] == theirs[name]
    assert all(row["chosen_ids"][-1] == tokenizer.eos_token_id for row in ours)
    assert all(tokenizer.eos_token_id not in row["prompt_ids"] for row in ours)


def test_killed_run_resumes_to_equal_weights_and_margins(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    settings = {"objective": "dpo", "padding_free": False, "batch_size": 2, "per_device_train_batch_size": 1}
    train_adapter(quick(lora={"dropout": 0.1}, **settings), dataset, str(base_model), tmp_path / "straight")
    out = tmp_path / "killed"
    process = start_training(base_model, dataset, out, **settings)
    wait_for(out, "checkpoints/*/checkpoint-2/complete.json", process)
    process.kill()
    process.join()
    assert not (out / "training.json").exists()
    train_adapter(quick(lora={"dropout": 0.1}, **settings), dataset, str(base_model), out)
    expected, resumed = weights(tmp_path / "straight"), weights(out)
    assert expected.keys() == resumed.keys() and all(torch.equal(expected[k], resumed[k]) for k in expected)
    margins = [[row.rewards_margin for row in history_of(path)] for path in (tmp_path / "straight", out)]
    assert losses_of(out) == losses_of(tmp_path / "straight") and margins[0] == margins[1]


@pytest.mark.parametrize("recipe", ["v4", "v4_orpo"])
def test_command_learns_the_preferences(
    recipe: str, base_model: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train from the command line; the margin on held-out pairs becomes positive."""
    settings = {**QUICK, "max_steps": 6, "batch_size": 4, "eval_steps": 3, "warmup_steps": 1}
    sets = [f"--set={k}={v}" for k, v in {"profile": "smoke", **settings}.items()]
    out = tmp_path / "v4"
    paths = ["--dataset", str(dataset), "--base-model", str(base_model), "--out", str(out)]
    assert cli.main(["train", "--recipe", recipe, *paths, *sets]) == 0
    manifest, history = manifest_of(out), history_of(out)
    assert (manifest.version, manifest.recipe, manifest.prompt_format) == ("v4", recipe, "rag")
    assert (manifest.dataset.rows, manifest.heldout_rows) == (16, 4)
    assert manifest.eval_rewards_accuracy == 1.0 and (manifest.eval_rewards_margin or 0) > 0
    first, last = history[0].rewards_margin, history[-1].rewards_margin
    assert first is not None and last is not None and last > first + 0.01
    if recipe == "v4":  # the new adapter changes nothing yet, so both rewards are zero
        assert first == pytest.approx(0, abs=1e-4)
    assert [row.step for row in history if row.eval_rewards_margin is not None] == [3, 6]
    card = (out / "README.md").read_text()
    assert "held-out reward margin" in card and ("DPO" if recipe == "v4" else "ORPO") in card


def test_base_model_is_in_memory_once(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    from insurance_rag.training.preflight import prepare_training
    from insurance_rag.training.trainable_model import load_trainable_model
    from insurance_rag.training.trainer import build_trainer

    config = pairwise("dpo")
    t = prepare_training(config, dataset, str(base_model), tmp_path)
    base = load_trainable_model(str(base_model), config, t.plan)
    n_base = sum(p.numel() for p in base.parameters())
    trainer = build_trainer(base, t.tokenizer, t.rows.rows, [], config, t.plan, tmp_path, [])
    n_trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    assert trainer.ref_model is None
    assert sum(p.numel() for p in trainer.model.parameters()) == n_base + n_trained


@pytest.mark.parametrize("objective", ["dpo", "orpo"])
def test_out_of_memory_splits_the_pairs_and_changes_nothing_else(
    objective: str, base_model: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = pairwise(objective, max_steps=2, batch_size=4, per_device_train_batch_size=4, eval_rows=1)
    train_adapter(recipe, dataset, str(base_model), tmp_path / "large")
    compute_loss, attempts = PreferenceTrainer.compute_loss, list[int]()

    def compute_or_fail(
        self: PreferenceTrainer, model: object, inputs: MicroBatch, *args: object, **kw: object
    ) -> object:
        if self.model.training:
            attempts.append(self.count_rows(inputs))
            if attempts[-1] > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return compute_loss(self, model, inputs, *args, **kw)

    monkeypatch.setattr(PreferenceTrainer, "compute_loss", compute_or_fail)
    train_adapter(recipe, dataset, str(base_model), tmp_path / "small")
    assert attempts[:3] == [4, 2, 1] and manifest_of(tmp_path / "small").micro_batch_pieces == 4
    assert losses_of(tmp_path / "small") == pytest.approx(losses_of(tmp_path / "large"), abs=1e-4)
    assert largest_difference(weights(tmp_path / "large"), weights(tmp_path / "small")) < 1e-4


def test_long_contexts_are_shortened_and_answers_never_cut(base_model: Path, dataset: Path) -> None:
    tokenizer = load_training_tokenizer(str(base_model))
    pairs = read_pairs(dataset / "train_dataset_preference.json")
    full = encode_pairs(pairs, tokenizer, pairwise("dpo"))
    limit = sorted(full.lengths)[len(pairs) // 2]
    short = encode_pairs(pairs, tokenizer, pairwise("dpo", max_length=limit))
    assert short.contexts_truncated > 0 and max(short.lengths) <= limit
    answers = {(tuple(row["chosen_ids"]), tuple(row["rejected_ids"])) for row in full.rows}
    assert all((tuple(row["chosen_ids"]), tuple(row["rejected_ids"])) in answers for row in short.rows)
    skipping = encode_pairs(pairs, tokenizer, pairwise("dpo", max_length=limit, overlong="skip"))
    assert skipping.contexts_truncated == 0 and len(skipping.skipped) + len(skipping.rows) == len(pairs)


def write_pairs(folder: Path, rows: Sequence[object]) -> Path:
    (folder / "train_dataset_preference.json").write_text(json.dumps(rows, ensure_ascii=False))
    return folder


def test_all_faulty_pairs_and_settings_are_listed_at_once(base_model: Path, tmp_path: Path) -> None:
    good = {"prompt": "질문\n", "chosen": "네.", "rejected": "아니요."}
    rows = [
        good, {**good, "rejected": "네." + RAG.end_of_text}, {**good, "chosen": " "}, {"prompt": "질문\n"},
        {**good, "rejected": "네. "}, {**good, "kind": 3}, "text",
    ]  # fmt: skip
    recipe = pairwise("dpo", lora={"target_modules": "w_proj"}, init_adapter=str(tmp_path / "none"))
    with pytest.raises(InvalidInputError) as error:
        train_adapter(recipe, write_pairs(tmp_path, rows), str(base_model), tmp_path / "a")
    message = str(error.value)
    for part in (
        "2 rows have two equal answers, the first is row 2; remove them", "3 rows have no chosen, the first is row 3",
        "2 rows have no rejected, the first is row 4", "row 7 has no prompt", "row 6 has an invalid kind",
        "init_adapter", "not a finished adapter", "no linear layer 'w_proj'",
    ):  # fmt: skip
        assert part in message, message
    assert not (tmp_path / "a" / "checkpoints").exists()


def test_file_without_pairs_is_an_error(base_model: Path, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds no preference pairs; make them with `insurance-rag validate`"):
        train_adapter(pairwise("orpo"), write_pairs(tmp_path, []), str(base_model), tmp_path / "a")
    with pytest.raises(InvalidInputError, match="16 rows have no chosen"):
        train_adapter(pairwise("dpo"), dataset / "train_dataset_rag.json", str(base_model), tmp_path / "a")
    with pytest.raises(InvalidInputError, match="all 16 rows are over 16 tokens; raise max_length"):
        train_adapter(pairwise("dpo", max_length=16), dataset, str(base_model), tmp_path / "a")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"padding_free": True}, "objective=dpo needs padding_free=false"),
        ({"neftune_noise_alpha": 5.0}, "set neftune_noise_alpha=null"),
        ({"completion_only_loss": False}, "set completion_only_loss=true"),
        ({"preference": {"label_smoothing": 0.1}}, "needs preference.loss_type=robust"),
        ({"objective": "orpo", "preference": {"loss_type": "ipo"}}, "orpo has no preference.loss_type=ipo"),
    ],
)
def test_settings_that_do_not_fit_the_objective_are_errors(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_recipe("v4", settings)


def test_training_starts_from_an_adapter(straight: Path, base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """The weights of the given adapter are the start; the reference is the base model, so the first margin is not 0."""
    recipe = pairwise("dpo", init_adapter=str(straight), max_steps=1, learning_rate=1e-12, warmup_steps=0)
    train_adapter(recipe, dataset, str(base_model), tmp_path / "a")
    assert largest_difference(weights(straight), weights(tmp_path / "a")) < 1e-9
    (first,) = history_of(tmp_path / "a")
    assert first.rewards_margin is not None and abs(first.rewards_margin) > 1e-4
    moved = tmp_path / "moved"
    shutil.copytree(straight, moved)
    again = train_adapter(
        recipe.model_copy(update={"init_adapter": str(moved)}), dataset, str(base_model), tmp_path / "a"
    )
    assert again.steps == 1  # the same weights in another folder are the same training run


def test_adapters_of_several_seeds_to_start_with_are_one_recipe(
    straight: Path, base_model: Path, dataset: Path, tmp_path: Path
) -> None:
    other_seed = tmp_path / "other_seed"
    shutil.copytree(straight, other_seed)
    weights_file = AdapterFolder(other_seed).weights
    tensors = load_file(weights_file)
    save_file({name: tensor + 0.01 for name, tensor in tensors.items()}, weights_file)
    first, second = (
        prepare_training(pairwise("dpo", init_adapter=str(start)), dataset, str(base_model), tmp_path / "a")
        for start in (straight, other_seed)
    )
    assert first.fingerprint != second.fingerprint
    assert first.recipe_fingerprint == second.recipe_fingerprint
    from_base = prepare_training(pairwise("dpo"), dataset, str(base_model), tmp_path / "a")
    assert from_base.recipe_fingerprint != first.recipe_fingerprint


def test_adapter_that_does_not_fit_is_an_error(straight: Path, base_model: Path, dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "other_base"
    shutil.copytree(base_model, other)
    recipe = pairwise("dpo", init_adapter=str(straight), lora={"r": 8, "target_modules": "all-linear"})
    with pytest.raises(InvalidInputError) as error:
        train_adapter(recipe, dataset, str(other), tmp_path / "a")
    message = str(error.value)
    assert "set lora.r=16" in message and "adapts lora.target_modules=q_proj,k_proj,v_proj,o_proj" in message
    assert "train on the same base model" in message


H200 = Device("cuda", "H200", 139.0, (9, 0))


def plan_8b(recipe: str, **settings: object) -> MemoryPlan:
    """Return the plan for a base model of 8B parameters and pairs of which the longest has 2,064 tokens."""
    config = load_recipe(recipe, {"use_liger_kernel": True, **settings})
    return plan_memory(config, model_shape(LLAMA_8B, "all-linear"), [900] * 50 + [2064], H200)


@pytest.mark.parametrize(
    ("measured", "settings"),
    [  # peak GiB allocated on one H200 for the longest pairs
        (85.1, {"memory_preset": "80GB", "per_device_train_batch_size": 4}),
        (13.2, {"memory_preset": "24GB", "offload_activations": False}),
    ],
)
def test_estimate_is_close_to_the_measured_peak(measured: float, settings: dict[str, object]) -> None:
    assert plan_8b("v4", **settings).estimate_gib == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize(("preset", "gib"), [("80GB", 79.0), ("24GB", 23.5), ("8GB", 8.0)])
def test_presets_fit_their_gpu(preset: str, gib: float) -> None:
    for recipe in ("v4", "v4_orpo"):
        plan = plan_8b(recipe, memory_preset=preset)
        assert plan.estimate_gib < gib
        assert plan.per_device_train_batch_size * plan.gradient_accumulation_steps == 16
