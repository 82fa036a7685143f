"""The model cards of adapters and merged models."""

from __future__ import annotations

import pytest
from tests.fakes.training_manifest import training_manifest

from insurance_rag.core.prompt_templates import PROMPT_FORMATS
from insurance_rag.training.model_card import adapter_card, merged_model_card
from insurance_rag.training.recipe import load_recipe


@pytest.mark.parametrize(("recipe", "name"), [("v1", "plain"), ("v2", "rag"), ("v3", "merged")])
def test_both_cards_show_the_prompt_that_the_adapter_was_trained_on(recipe: str, name: str) -> None:
    settings = load_recipe(recipe).model_dump(mode="json")
    manifest = training_manifest(prompt_format=name, settings=settings)
    prompt = PROMPT_FORMATS[name].prompt("{question}", "{context}")
    block = "\n".join(f"    {line}".rstrip() for line in prompt.splitlines())
    for card in (adapter_card(manifest), merged_model_card(manifest)):
        assert f"prompt format `{name}`" in card
        assert f"\n\n{block}\n\n" in card
