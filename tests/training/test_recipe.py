"""Every recipe and profile is a valid configuration; unknown keys are rejected with a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.training.conftest import manifest_of, weights

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.training import load_recipe, train_adapter
from insurance_rag.training.recipe import RECIPE_FOLDER, recipe_names

NAMES = sorted(path.relative_to(RECIPE_FOLDER).with_suffix("").as_posix() for path in RECIPE_FOLDER.rglob("*.yaml"))
PROMPT_FORMATS = {"v1": "plain", "v2": "rag", "v3": "merged", "v4": "rag"}


def test_published_recipes_exist() -> None:
    assert (
        NAMES == recipe_names() == ["smoke", "v1", "v2", "v2_all_linear", "v2_chat", "v3", "v4", "v4_orpo", "verifier"]
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_valid(name: str) -> None:
    assert load_recipe(name).max_length >= 1024


@pytest.mark.parametrize("name", ["v1", "v2", "v2_all_linear", "v2_chat", "v3", "v4", "v4_orpo"])
@pytest.mark.parametrize("profile", ["default", "reference", "smoke"])
def test_every_profile_is_valid_and_keeps_version_format_and_layers(name: str, profile: str) -> None:
    recipe, version = load_recipe(name, {"profile": profile}), name.partition("_")[0]
    assert (recipe.version, recipe.prompt_format) == (version, "chat" if name == "v2_chat" else PROMPT_FORMATS[version])
    assert (recipe.lora.target_modules == "all-linear") == (name in ("v2_all_linear", "v4", "v4_orpo"))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_trains(name: str, base_model: Path, chat_base_model: Path, dataset: Path, tmp_path: Path) -> None:
    """Train each recipe with its default settings, except that the run and its rows are short."""
    short = {"batch_size": 2, "per_device_train_batch_size": 2, "max_steps": 2, "max_length": 512, "eval_rows": 2}
    recipe = load_recipe(name, {**short, "logging_steps": 1, "report_to": []})
    base = chat_base_model if recipe.prompt_format == "chat" else base_model
    train_adapter(recipe, dataset, str(base), tmp_path / "adapter", recipe_name=name)
    manifest = manifest_of(tmp_path / "adapter")
    assert (manifest.recipe, manifest.steps, manifest.epochs) == (name, 2, 0.25)
    assert any(tensor.abs().sum() > 0 for key, tensor in weights(tmp_path / "adapter").items() if "lora_B" in key)


@pytest.mark.parametrize(("name", "micro_batch", "batch"), [("v1", 2, 8), ("v2", 2, 8), ("v3", 4, 16)])
def test_reference_profile_has_the_values_of_the_reference_design(name: str, micro_batch: int, batch: int) -> None:
    recipe = load_recipe(name, {"profile": "reference"})
    assert (recipe.per_device_train_batch_size, recipe.batch_size) == (micro_batch, batch)
    assert (recipe.lora.r, recipe.lora.alpha, recipe.lora.dropout) == (16, 32, 0.05)
    assert (recipe.learning_rate, recipe.optim) == (2e-4, "paged_adamw_32bit")
    assert (recipe.save_steps, recipe.logging_steps) == (50, 10)


def test_reference_profile_has_the_length_of_the_reference_design() -> None:
    v1, v3 = load_recipe("v1", {"profile": "reference"}), load_recipe("v3", {"profile": "reference"})
    assert (v1.max_steps, v1.warmup_steps) == (200, 10)
    assert (v3.max_steps, v3.num_train_epochs, v3.warmup_steps, v3.max_length) == (None, 3, 0.03, 2048)


def test_settings_override_the_profile() -> None:
    recipe = load_recipe("v2", {"profile": "smoke", "max_steps": 5, "lora": {"r": 4}})
    assert (recipe.max_steps, recipe.lora.r, recipe.lora.alpha) == (5, 4, 32)


def test_all_problems_are_listed_with_suggestions() -> None:
    with pytest.raises(InvalidInputError) as error:
        load_recipe("v2", {"max_step": 3, "learning_rate": -1})
    assert "did you mean 'max_steps'?" in str(error.value) and "learning_rate" in str(error.value)


def test_unknown_names_are_rejected() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'smoke'"):
        load_recipe("v1", {"profile": "smok"})
    with pytest.raises(
        InvalidInputError, match="available: smoke, v1, v2, v2_all_linear, v2_chat, v3, v4, v4_orpo, verifier"
    ):
        load_recipe("v9")
    with pytest.raises(InvalidInputError, match="unknown prompt format 'ragg'; did you mean 'rag'"):
        load_recipe("v2", {"prompt_format": "ragg"})


def test_invalid_recipe_files_are_rejected(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_recipe(recipe)
    recipe.write_text("a: [")
    with pytest.raises(InvalidInputError, match="invalid YAML"):
        load_recipe(recipe)
    recipe.write_text("just words")
    with pytest.raises(InvalidInputError, match="not a mapping of settings; write it like"):
        load_recipe(recipe)
    recipe.write_text("version: v2\nprompt_format: rag\nprofiles: {mine: 3}")
    with pytest.raises(InvalidInputError, match="profile 'mine' is neither settings nor a recipe"):
        load_recipe(recipe, {"profile": "mine"})
    recipe.write_text("version: v2")
    with pytest.raises(InvalidInputError, match="prompt_format: Field required"):
        load_recipe(recipe)
