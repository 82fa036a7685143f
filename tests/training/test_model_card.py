"""The model cards of adapters and merged models."""

from __future__ import annotations

import pytest
from tests.fakes.training_manifest import training_manifest

from insurance_rag.core.prompt_templates import PROMPT_FORMATS
from insurance_rag.training.model_card import adapter_card, merged_model_card
from insurance_rag.training.recipe import load_recipe


def test_card_names_the_kind_of_adapter_and_how_to_serve_it() -> None:
    def card(**lora: object) -> str:
        return adapter_card(training_manifest(settings=load_recipe("v2", {"lora": lora}).model_dump(mode="json")))

    assert "Adapter (LoRA, rank 16, alpha 32, layers: q_proj, k_proj, v_proj, o_proj)" in card()
    assert "--max-lora-rank 8 " in card(r=8)
    dora = card(use_dora=True, use_rslora=True, target_modules="all-linear")
    assert "Adapter (rank-stabilized DoRA, rank 16, alpha 32, layers: all-linear)" in dora
    assert "--enable-lora" not in dora and "insurance-rag export --adapter . " in dora


@pytest.mark.parametrize(("recipe", "name"), [("v1", "plain"), ("v2", "rag"), ("v3", "merged")])
def test_both_cards_show_the_prompt_that_the_adapter_was_trained_on(recipe: str, name: str) -> None:
    settings = load_recipe(recipe).model_dump(mode="json")
    manifest = training_manifest(prompt_format=name, settings=settings)
    prompt = PROMPT_FORMATS[name].prompt("{question}", "{context}")
    block = "\n".join(f"    {line}".rstrip() for line in prompt.splitlines())
    for card in (adapter_card(manifest), merged_model_card(manifest)):
        assert f"prompt format `{name}`" in card
        assert f"\n\n{block}\n\n" in card
