"""How fast Base, v1 and v2 answer 20 questions each: the product's answering code on random weights of the 8B shape.

    python bench/evaluation.py                    an H100: 1,200-token prompts, 256 new tokens (about 4 minutes)
    python bench/evaluation.py --tiny             the same lines on a CPU in seconds: a rehearsal, no figures

Random weights cost the time of trained ones. They lie in --scratch (16 GB; default /dev/shm). Each line is JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
sys.path.insert(0, str(Path(__file__).parents[1] / "include"))

import torch
import transformers

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.evaluation.backends.local.backend import LocalBackend
from insurance_rag.evaluation.backends.reference import ReferenceBackend
from insurance_rag.evaluation.requests import GenerationRequest, Reply

CUDA = torch.cuda.is_available()
EIGHT_B = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rope_theta": 500000.0,
    "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
TINY = EIGHT_B | {
    "vocab_size": 2048, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}  # fmt: skip
MODELS = ("Base", "v1", "v2")


def say(what: str, **figures: Any) -> None:
    if CUDA:
        figures["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    print(json.dumps({"what": what, **figures}, ensure_ascii=False), flush=True)


def make_base(folder: Path, shape: dict[str, Any], spread: float = 0.02) -> None:
    """Random weights of this shape and a tokenizer of one word a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {f"t{i}": i for i in range(2, shape["vocab_size"])} | {"<pad>": 0, "<eos>": 1}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<pad>"
    ).save_pretrained(folder)
    device = "cuda" if CUDA else "cpu"
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape)).to(torch.bfloat16)
    model = model.to_empty(device=device)
    generator = torch.Generator(device=device).manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0) if "norm" in name else parameter.normal_(0, spread, generator=generator)
    model.save_pretrained(folder, max_shard_size="2GB")


def make_adapter(folder: Path, shape: dict[str, Any], seed: int, size: float = 0.01) -> Path:
    """r 16 on q, k, v, o, as the recipes have it, with a B that is not zero."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 16, "lora_alpha": 32, "lora_dropout": 0.05,
              "bias": "none", "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    hidden = shape["hidden_size"]
    narrow = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for layer in range(shape["num_hidden_layers"]):
        for name, out in (("q", hidden), ("k", narrow), ("v", narrow), ("o", hidden)):
            key = f"base_model.model.model.layers.{layer}.self_attn.{name}_proj"
            tensors[f"{key}.lora_A.weight"] = torch.randn(16, hidden, generator=generator) * 0.02
            tensors[f"{key}.lora_B.weight"] = torch.randn(out, 16, generator=generator) * size
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def make_asks(questions: int, length: int, vocabulary: int) -> list[GenerationRequest]:
    """Prompts of about `length` tokens (60-150 % of it), the same for each model."""
    rng, asks = random.Random(1), []
    for i in range(questions):
        n = int(min(1.5 * length, max(0.6 * length, rng.gauss(length, 0.2 * length))))
        prompt = " ".join(f"t{rng.randrange(10, vocabulary)}" for _ in range(n))
        asks += [GenerationRequest(f"{model} {i}", model, f"q{i}", prompt) for model in MODELS]
    return asks


def timed_answers(
    answerer: Any, asks: list[GenerationRequest], decoding: DecodingConfig
) -> tuple[float, dict[str, Reply]]:
    replies: dict[str, Reply] = {}
    if CUDA:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    answerer.answer(asks, decoding, lambda ask, reply: replies.__setitem__(ask.key, reply))
    return time.perf_counter() - started, replies


def bench_engine(what: str, base: Path, adapters: dict[str, Path], asks: list[GenerationRequest], decoding: DecodingConfig,
                 runs: int = 1, **settings: Any) -> dict[str, Reply]:  # fmt: skip
    started = time.perf_counter()
    with LocalBackend(str(base), adapters, EvaluationConfig(**settings)) as answerer:
        load = time.perf_counter() - started
        for run in range(1, runs + 1):
            seconds, replies = timed_answers(answerer, asks, decoding)
            tokens = sum(reply.new_tokens for reply in replies.values())
            say(what, run=run, precision=answerer.precision, load_s=round(load, 1), answers=len(replies),
                seconds=round(seconds, 2), s_per_answer=round(seconds / len(replies), 3), new_tokens=tokens,
                new_tok_s=round(tokens / seconds))  # fmt: skip
    gc.collect()
    return replies


def check_equality(scratch: Path) -> None:
    """On this device, in float32, the static loop (here with CUDA graphs) gives generate's tokens exactly."""
    torch.backends.cuda.matmul.allow_tf32 = False
    base = scratch / "tiny"
    make_base(base, TINY, spread=0.2)
    adapters = {name: make_adapter(scratch / f"tiny-{name}", TINY, i, 0.2) for i, name in enumerate(("v1", "v2"))}
    asks = make_asks(8, 150, 2000)
    for decoding in (
        DecodingConfig(max_new_tokens=128, stop_loops=False),
        DecodingConfig(max_new_tokens=128, temperature=0.7, repetition_penalty=1.2, penalty_scope="prompt"),
    ):
        texts = []
        for engine in ("static", "generate"):
            with LocalBackend(str(base), adapters, EvaluationConfig(precision="fp32", engine=engine)) as answerer:
                texts.append(timed_answers(answerer, asks, decoding)[1])
        same = sum(texts[0][ask.key].text == texts[1][ask.key].text for ask in asks)
        distinct = len({reply.text for reply in texts[0].values()})
        say("equal to generate, fp32", temperature=decoding.temperature, same=same, of=len(asks), distinct=distinct)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm/insurance-rag-bench"))
    parser.add_argument("--deadline", type=float, default=290, help="seconds after which no further part is begun")
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    started = time.perf_counter()
    shape, length, new = (TINY, 60, 32) if args.tiny else (EIGHT_B, 1200, 256)
    device = torch.cuda.get_device_name() if CUDA else "CPU"
    say("versions", device=device, torch=torch.__version__, transformers=transformers.__version__)
    base = args.scratch / "base"
    make_base(base, shape)
    adapters = {name: make_adapter(args.scratch / name, shape, i) for i, name in enumerate(("v1", "v2"))}
    say("made", seconds=round(time.perf_counter() - started, 1))
    asks = make_asks(20, length, shape["vocab_size"])
    # Nothing may end an answer early: every row makes all its tokens.
    decoding = DecodingConfig(max_new_tokens=new, stop_loops=False, stop_strings=())
    source = DecodingConfig.preset("after").model_copy(update={"max_new_tokens": new})
    parts = [
        lambda: bench_engine("static loop, Base+v1+v2 in one batch", base, adapters, asks, decoding, runs=2),
        lambda: bench_engine("static loop, weights kept in NF4", base, adapters, asks, decoding, precision="nf4"),
        lambda: check_equality(args.scratch),
        lambda: bench_source(base, adapters, asks, source),
        lambda: bench_engine("transformers generate, mixed batch", base, adapters, asks, decoding, engine="generate"),
    ]
    for part in parts:
        if time.perf_counter() - started < args.deadline:
            try:
                part()
            except RuntimeError as e:  # the other parts are worth their minutes all the same
                say("failed", error=f"{type(e).__name__}: {str(e)[:500]}")
    say("all", seconds=round(time.perf_counter() - started, 1))
    shutil.rmtree(args.scratch)


def bench_source(
    base: Path, adapters: dict[str, Path], asks: list[GenerationRequest], decoding: DecodingConfig
) -> None:
    """The source's way on three answers: load, merge into 4-bit, generate one at a time."""
    one_each = [next(ask for ask in asks if ask.model == model) for model in MODELS]
    answerer = ReferenceBackend(str(base), adapters)
    seconds, replies = timed_answers(answerer, one_each, decoding)
    answering = sum(reply.seconds for reply in replies.values())
    say("the source's way", answers=len(replies), seconds=round(seconds, 1),
        s_per_answer=round(answering / len(replies), 2), load_and_merge_s=round((seconds - answering) / 3, 2),
        new_tokens=sum(reply.new_tokens for reply in replies.values()),
        sixty_answers_s=round(seconds - answering + 20 * answering))  # fmt: skip


if __name__ == "__main__":
    main()
