"""The static loop against transformers' generate and PEFT, token for token."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tests.evaluation.tiny import make_adapter, make_base
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig, LlamaForCausalLM

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.prompt_templates import rag_prompt
from insurance_rag.evaluation.backends.local.backend import LocalBackend
from insurance_rag.evaluation.backends.local.sampling import StopRule, next_tokens, uniform_noise
from insurance_rag.evaluation.requests import GenerationRequest, Reply

MODELS = ("Base", "v1", "v2")
PLAIN = DecodingConfig(repetition_penalty=1, max_new_tokens=48, stop_strings=(), stop_loops=False)
PENALISED = PLAIN.model_copy(update={"repetition_penalty": 1.2, "penalty_scope": "prompt"})
SAMPLED = DecodingConfig(temperature=0.8, max_new_tokens=48, stop_strings=("보험",))
ASKS = [
    GenerationRequest(
        f"{model}{i}", model, f"q{i}", rag_prompt(f"질문 {i}?", "제7조(보험금) " + "진단확정 시 지급합니다. " * i)
    )
    for i in range(4)
    for model in MODELS
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    wide = {"r": 8, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]}
    return {"v1": make_adapter(base, folder / "v1", 1), "v2": make_adapter(base, folder / "v2", 2, **wide)}


def replies(
    base: Path,
    adapters: dict[str, Path],
    decoding: DecodingConfig,
    asks: list[GenerationRequest] = ASKS,
    **settings: object,
) -> dict[str, Reply]:
    config = EvaluationConfig(**{"precision": "fp32", **settings})
    found: dict[str, Reply] = {}
    with LocalBackend(str(base), adapters, config) as answerer:
        answerer.answer(asks, decoding, lambda ask, reply: found.__setitem__(ask.key, reply))
    return found


@pytest.mark.parametrize("decoding", [PLAIN, PENALISED], ids=["plain", "penalised"])
def test_equals_generate_with_peft(base: Path, adapters: dict[str, Path], decoding: DecodingConfig) -> None:
    """One mixed batch of ours against one answer at a time of transformers and PEFT, with their own penalty."""
    model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), adapters["v1"], adapter_name="v1")
    model.load_adapter(adapters["v2"], adapter_name="v2")
    ours = replies(base, adapters, decoding, engine="static")
    with LocalBackend(str(base), {}, EvaluationConfig(precision="fp32")) as answerer:
        tokenizer = answerer.tokenizer
    for ask in ASKS:
        ids = torch.tensor([tokenizer(ask.prompt)["input_ids"]])
        made = model.eval().generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=48, pad_token_id=0,
            repetition_penalty=decoding.repetition_penalty,
            adapter_names=["__base__" if ask.model == "Base" else ask.model],
        )  # fmt: skip
        text = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        assert text.rstrip("\ufffd") == ours[ask.key].text  # the limit may cut a syllable's bytes
    assert len({reply.text for reply in ours.values()}) == len(ASKS)  # the comparison is not of one constant answer


@pytest.mark.parametrize("decoding", [PENALISED, SAMPLED, DecodingConfig(max_new_tokens=80)])
def test_both_loops_and_any_batching_agree(base: Path, adapters: dict[str, Path], decoding: DecodingConfig) -> None:
    texts = [
        {key: reply.text for key, reply in replies(base, adapters, decoding, **settings).items()}
        for settings in ({"engine": "static"}, {"engine": "generate"}, {"batch_tokens": 1200})
    ]
    assert texts[0] == texts[1] == texts[2]


def test_layers_with_a_sliding_window_agree(base: Path, tmp_path: Path) -> None:
    """Gemma 3: most layers see a window only, here shorter than every prompt."""
    torch.manual_seed(0)
    settings = {
        "vocab_size": 600, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "head_dim": 16,
        "num_attention_heads": 4, "num_key_value_heads": 1, "sliding_window": 24, "max_position_embeddings": 2048,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "query_pre_attn_scalar": 16,
        "eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None, "initializer_range": 0.3,
        "tie_word_embeddings": False,
    }  # fmt: skip
    Gemma3ForCausalLM(Gemma3TextConfig(**settings)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path)
    asks = [ask for ask in ASKS if ask.model == "Base"]
    static, generate = (replies(tmp_path, {}, PENALISED, asks, engine=engine) for engine in ("static", "generate"))
    assert {key: reply.text for key, reply in static.items()} == {key: reply.text for key, reply in generate.items()}
    assert len({reply.text for reply in static.values()}) > 1


def test_rows_end_at_eos_stop_string_and_loop(base: Path) -> None:
    with LocalBackend(str(base), {}, EvaluationConfig()) as answerer:
        tokenizer = answerer.tokenizer
    tokens = tokenizer("회사는 보험금을 지급합니다.\n### 지시")["input_ids"]
    rule = StopRule(tokenizer, frozenset({1}), DecodingConfig())
    assert rule.cut([*tokens[:3], 1, 5]) == (tokens[:3], True)
    assert rule.cut(tokens) == (tokens, True)
    assert rule.text(tokens).endswith("###")
    looping = [7, 8, 9, *[10, 11, 12] * 40]
    assert rule.cut(looping) == (looping[:32], True)
    assert rule.cut(looping[:20]) == (looping[:20], False)
    free = StopRule(tokenizer, frozenset({1}), PLAIN)
    assert free.cut(tokens) == (tokens, False)
    assert free.cut(looping[:48]) == (looping[:48], True)


def test_sampling_follows_the_distribution_and_the_nucleus() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(4000, 4)
    noise = uniform_noise([f"q{i}" for i in range(4000)], 1, seed=3)[:, 0]
    drawn = next_tokens(logits, torch.zeros(4000, 4, dtype=torch.bool), noise, DecodingConfig(temperature=1, top_p=0.9))
    shares = torch.bincount(drawn, minlength=4) / 4000
    assert shares[3] == 0  # the nucleus of .9 is the first three
    assert torch.allclose(shares[:3], torch.tensor([0.5, 0.3, 0.15]) / 0.95, atol=0.03)


def test_an_adapter_of_another_base_is_refused(base: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    other = make_base(tmp_path / "other", hidden_size=96)
    with pytest.raises(InvalidInputError, match="trained on another one"):
        LocalBackend(str(other), adapters, EvaluationConfig())


def test_what_a_wide_lora_cannot_express_is_refused(base: Path, tmp_path: Path) -> None:
    odd = make_adapter(base, tmp_path / "dora", 3, use_dora=True)
    with pytest.raises(InvalidInputError, match="try --reference"):
        LocalBackend(str(base), {"v1": odd}, EvaluationConfig())
    (odd / "adapter_model.safetensors").unlink()
    with pytest.raises(InvalidInputError, match=r"adapter_model\.safetensors is missing"):
        LocalBackend(str(base), {"v1": odd}, EvaluationConfig())
    with pytest.raises(InvalidInputError, match="not an adapter folder"):
        LocalBackend(str(base), {"v1": tmp_path}, EvaluationConfig())


def test_a_base_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        LocalBackend(str(tmp_path / "nothing"), {}, EvaluationConfig())
