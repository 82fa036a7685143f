"""Every recipe and profile is a valid configuration; unknown keys are refused with a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.training import load_recipe
from insurance_rag.training.recipe import RECIPES

NAMES = sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def test_the_published_recipes_are_there() -> None:
    assert NAMES == ["smoke", "v1", "v2", "v3"]


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_valid(name: str) -> None:
    assert load_recipe(name).max_length >= 1024


@pytest.mark.parametrize("name", ["v1", "v2", "v3"])
def test_every_profile_is_valid_and_keeps_the_version(name: str) -> None:
    for profile in ("default", "source", "smoke"):
        assert load_recipe(name, {"profile": profile}).version == name


def test_the_source_profile_holds_the_published_values() -> None:
    for name, micro, batch in (("v1", 2, 8), ("v2", 2, 8), ("v3", 4, 16)):
        recipe = load_recipe(name, {"profile": "source"})
        assert (recipe.micro_batch, recipe.batch_size) == (micro, batch)
        assert (recipe.lora.r, recipe.lora.alpha, recipe.lora.dropout) == (16, 32, 0.05)
        assert (recipe.learning_rate, recipe.optimizer) == (2e-4, "paged_adamw_32bit")
    v1, v3 = load_recipe("v1", {"profile": "source"}), load_recipe("v3", {"profile": "source"})
    assert (v1.max_steps, v1.warmup, v1.save_every, v1.log_every) == (200, 10, 50, 10)
    assert (v3.max_steps, v3.epochs, v3.warmup, v3.max_length) == (None, 3, 0.03, 2048)


def test_settings_are_laid_over_the_profile() -> None:
    recipe = load_recipe("v2", {"profile": "smoke", "max_steps": 5, "lora": {"r": 4}})
    assert (recipe.max_steps, recipe.lora.r, recipe.lora.alpha) == (5, 4, 32)


def test_all_problems_are_listed_with_suggestions(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as error:
        load_recipe("v2", {"max_step": 3, "learning_rate": -1})
    assert "did you mean 'max_steps'?" in str(error.value) and "learning_rate" in str(error.value)
    with pytest.raises(InvalidInputError, match="did you mean 'smoke'"):
        load_recipe("v1", {"profile": "smok"})
    with pytest.raises(InvalidInputError, match="known: smoke, v1, v2, v3"):
        load_recipe("v9")
    bad = tmp_path / "mine.yaml"
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load_recipe(bad)
    bad.write_text("a: [")
    with pytest.raises(InvalidInputError, match="not YAML"):
        load_recipe(bad)
    bad.write_text("just words")
    with pytest.raises(InvalidInputError, match="a recipe is a mapping"):
        load_recipe(bad)
