"""The static decoding loop gives the same tokens as transformers' `generate` and PEFT."""

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
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest

pytestmark = pytest.mark.slow  # every test loads a model

MODELS = ("Base", "v1", "v2")
PLAIN = DecodingConfig(repetition_penalty=1, max_new_tokens=48, stop_strings=(), stop_loops=False)
PENALIZED = PLAIN.model_copy(update={"repetition_penalty": 1.2, "penalty_scope": "prompt"})
SAMPLED = DecodingConfig(temperature=0.8, max_new_tokens=48, stop_strings=("보험",))
REQUESTS = [
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


def generate(
    base: Path,
    adapters: dict[str, Path],
    decoding: DecodingConfig,
    requests: list[GenerationRequest] = REQUESTS,
    **settings: object,
) -> dict[str, GeneratedAnswer]:
    config = EvaluationConfig(**{"precision": "fp32", **settings})
    found: dict[str, GeneratedAnswer] = {}
    with LocalBackend(str(base), adapters, config) as backend:
        backend.answer(requests, decoding, lambda request, answer: found.__setitem__(request.key, answer))
    return found


@pytest.mark.parametrize("decoding", [PLAIN, PENALIZED], ids=["plain", "penalized"])
def test_equals_generate_with_peft(base: Path, adapters: dict[str, Path], decoding: DecodingConfig) -> None:
    """Compare one mixed batch with transformers and PEFT, which answer one request at a time with their own penalty."""
    model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), adapters["v1"], adapter_name="v1")
    model.load_adapter(adapters["v2"], adapter_name="v2")
    answers = generate(base, adapters, decoding, engine="static")
    with LocalBackend(str(base), {}, EvaluationConfig(precision="fp32")) as backend:
        tokenizer = backend.tokenizer
    for request in REQUESTS:
        ids = torch.tensor([tokenizer(request.prompt)["input_ids"]])
        output = model.eval().generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=48, pad_token_id=0,
            repetition_penalty=decoding.repetition_penalty,
            adapter_names=["__base__" if request.model == "Base" else request.model],
        )  # fmt: skip
        text = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
        assert text.rstrip("\ufffd") == answers[request.key].text  # the limit may split the bytes of a syllable
    assert len({answer.text for answer in answers.values()}) == len(REQUESTS)  # the answers are not constant


@pytest.mark.parametrize("decoding", [PENALIZED, SAMPLED, DecodingConfig(max_new_tokens=80)])
def test_both_loops_and_all_batch_sizes_agree(
    base: Path, adapters: dict[str, Path], decoding: DecodingConfig, tmp_path: Path
) -> None:
    """One of the adapters is DoRA, which also scales the outputs of the adapted layers."""
    adapters = {**adapters, "v2": make_adapter(base, tmp_path / "dora", 2, use_dora=True, target_modules="all-linear")}
    texts = [
        {key: answer.text for key, answer in generate(base, adapters, decoding, **settings).items()}
        for settings in ({"engine": "static"}, {"engine": "generate"}, {"batch_tokens": 1200})
    ]
    assert texts[0] == texts[1] == texts[2]


def test_sliding_window_layers_agree(base: Path, tmp_path: Path) -> None:
    """Most layers of Gemma 3 attend to a sliding window, which is shorter than every prompt here."""
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
    requests = [request for request in REQUESTS if request.model == "Base"]
    static, reference = (generate(tmp_path, {}, PENALIZED, requests, engine=e) for e in ("static", "generate"))
    assert {key: a.text for key, a in static.items()} == {key: a.text for key, a in reference.items()}
    assert len({answer.text for answer in static.values()}) > 1


def test_answers_end_at_eos_stop_string_loop_and_limit(base: Path) -> None:
    with LocalBackend(str(base), {}, EvaluationConfig()) as backend:
        tokenizer = backend.tokenizer
    tokens = tokenizer("회사는 보험금을 지급합니다.\n### 지시")["input_ids"]
    rule = StopRule(tokenizer, frozenset({1}), DecodingConfig())
    assert rule.truncate([*tokens[:3], 1, 5]) == (tokens[:3], True)
    assert rule.truncate(tokens) == (tokens, True)
    assert rule.decode(tokens).endswith("###")
    looping = [7, 8, 9, *[10, 11, 12] * 40]
    assert rule.truncate(looping) == (looping[:32], True)
    assert rule.truncate(looping[:20]) == (looping[:20], False)
    unlimited = StopRule(tokenizer, frozenset({1}), PLAIN)
    assert unlimited.truncate(tokens) == (tokens, False)
    assert unlimited.truncate(looping[:48]) == (looping[:48], True)


def test_sampling_follows_the_distribution_and_the_nucleus() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(4000, 4)
    noise = uniform_noise([f"q{i}" for i in range(4000)], 1, seed=3)[:, 0]
    drawn = next_tokens(logits, torch.zeros(4000, 4, dtype=torch.bool), noise, DecodingConfig(temperature=1, top_p=0.9))
    shares = torch.bincount(drawn, minlength=4) / 4000
    assert shares[3] == 0  # the nucleus of 0.9 consists of the first three tokens
    assert torch.allclose(shares[:3], torch.tensor([0.5, 0.3, 0.15]) / 0.95, atol=0.03)


def test_adapter_of_another_base_is_rejected(base: Path, adapters: dict[str, Path], tmp_path: Path) -> None:
    other = make_base(tmp_path / "other", hidden_size=96)
    with pytest.raises(InvalidInputError, match="does not fit the base model; give"):
        LocalBackend(str(other), adapters, EvaluationConfig()).load()


def test_missing_base_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        LocalBackend(str(tmp_path / "nothing"), {}, EvaluationConfig())
