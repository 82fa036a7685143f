"""Which layers get an adapter, and how many parameters it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from tests.training.conftest import model_config
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, PretrainedConfig, T5Config

from insurance_rag.config.training import LoraSettings
from insurance_rag.core.config_base import parse_settings
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.models.linear_layers import linear_layers
from insurance_rag.training import load_recipe
from insurance_rag.training.memory_estimate import adapter_parameters, model_shape
from insurance_rag.training.target_modules import target_problems

SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 50,
}  # fmt: skip
TIED_GEMMA = Gemma3TextConfig(**SIZES, head_dim=16, tie_word_embeddings=True)


@pytest.mark.parametrize("config", [LlamaConfig(**SIZES), TIED_GEMMA], ids=["llama", "gemma3"])
@pytest.mark.parametrize("targets", ["all-linear", "q_proj,down_proj", ["layers.0.self_attn.o_proj"]], ids=str)
@pytest.mark.parametrize("use_dora", [False, True], ids=["lora", "dora"])
def test_estimated_parameters_equal_peft(config: PretrainedConfig, targets: object, use_dora: bool) -> None:
    lora = LoraSettings.model_validate({"r": 3, "target_modules": targets, "use_dora": use_dora})
    chosen = lora.target_modules
    settings = LoraConfig(
        r=3,
        target_modules=chosen if isinstance(chosen, str) else list(chosen),
        use_dora=use_dora,
        task_type="CAUSAL_LM",
    )
    trainable, _ = get_peft_model(AutoModelForCausalLM.from_config(config), settings).get_nb_trainable_parameters()
    assert adapter_parameters(lora, model_shape(config, chosen)) == trainable > 0


def test_names_that_select_nothing_are_listed_with_the_available_ones(base_model: Path) -> None:
    layers = linear_layers(model_config(base_model))
    assert target_problems(layers, "all-linear") == target_problems(layers, ("self_attn.q_proj",)) == []
    for wrong in ("lm_head", "embed_tokens", "qproj", "proj", "q_pro."):
        (problem,) = target_problems(layers, ("q_proj", wrong))
        assert f"no linear layer {wrong!r}" in problem
        assert problem.endswith("some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj")


def test_base_model_that_does_not_generate_is_rejected() -> None:
    with pytest.raises(InvalidInputError, match="its type 't5' is not a causal language model"):
        linear_layers(T5Config())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("q_proj,v_proj", ("q_proj", "v_proj")),
        ("q_proj", ("q_proj",)),
        ("[q_proj, 'o_proj']", ("q_proj", "o_proj")),
        ("all-linear", "all-linear"),
        ("[all-linear]", "all-linear"),
    ],
)
def test_names_are_a_list_or_separated_by_commas(text: str, expected: object) -> None:
    recipe = load_recipe("v2", parse_settings([f"lora.target_modules={text}"]))
    assert recipe.lora.target_modules == expected
    assert load_recipe("v2", parse_settings(s.removeprefix("--set=") for s in recipe.as_settings())) == recipe


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("lora.target_modules=[]", "lora.target_modules"),
        ("lora.init_lora_weights=pissa_niter_4", "changes the weights of the base model, but evaluation"),
        ("lora.init_lora_weights=loftq", "attach the adapter to the unchanged base model; set true or gaussian"),
        ("lora.init_lora_weights=eva", "needs passes over the data"),
        ("lora.init_lora_weights=orthogonal", "does not work on a quantized base model"),
        ("lora.init_lora_weights=false", "changes the answers of the base model"),
        ("lora.init_lora_weights=pisa", "should be True or 'gaussian'"),
        ("neftune_noise_alpha=5", "set padding_free=false"),
        ("adam_beta2=1", "adam_beta2"),
    ],
)
def test_settings_that_cannot_work_are_rejected_with_the_reason(setting: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        load_recipe("v2", parse_settings([setting]))
