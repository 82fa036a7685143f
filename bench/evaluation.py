"""Measure how fast Base, v1 and v2 answer 20 questions each, with random weights in the shape of Llama 3 8B.

    python -m bench.evaluation                    for an H100: 1,200-token prompts, 256 new tokens; about 4 minutes
    python -m bench.evaluation --tiny             a tiny model on a CPU, to test the script in seconds

Random weights are as fast as trained weights. They are written to --scratch (16 GB; default: a folder in /dev/shm).
Every printed line is a JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

import torch
import transformers

from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.evaluation.backends import ModelBackend
from insurance_rag.evaluation.backends.local.backend import LocalBackend
from insurance_rag.evaluation.backends.reference import ReferenceBackend
from insurance_rag.evaluation.requests import GeneratedAnswer, GenerationRequest

CUDA = torch.cuda.is_available()


class Shape(TypedDict):
    """Arguments for `LlamaConfig` that set the size of a Llama model."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rope_theta: float
    bos_token_id: int | None
    eos_token_id: int
    pad_token_id: int


EIGHT_B: Shape = {
    "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rope_theta": 500000.0,
    "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
TINY: Shape = {
    **EIGHT_B, "vocab_size": 2048, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
MODELS = ("Base", "v1", "v2")


def say(what: str, **figures: object) -> None:
    """Print one JSON line; on a GPU the line includes the peak memory."""
    if CUDA:
        figures["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 1)
    print(json.dumps({"what": what, **figures}, ensure_ascii=False), flush=True)


def make_base(folder: Path, shape: Shape, spread: float = 0.02) -> None:
    """Write a base model with random weights (standard deviation `spread`) and a tokenizer with one token per word."""
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


def make_adapter(folder: Path, shape: Shape, seed: int, size: float = 0.01) -> Path:
    """Write a random adapter with the shape that the recipes use: rank 16 on the q, k, v and o projections.

    The B matrices are random numbers with standard deviation `size`. With zeros, the adapter would have no effect.
    """
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


def make_requests(questions: int, length: int, vocabulary: int) -> list[GenerationRequest]:
    """Return one request per question and model. Each prompt has between 0.6 and 1.5 times `length` tokens."""
    rng, requests = random.Random(1), list[GenerationRequest]()
    for i in range(questions):
        n = int(min(1.5 * length, max(0.6 * length, rng.gauss(length, 0.2 * length))))
        prompt = " ".join(f"t{rng.randrange(10, vocabulary)}" for _ in range(n))
        requests += [GenerationRequest(f"{model} {i}", model, f"q{i}", prompt) for model in MODELS]
    return requests


def timed_answers(
    backend: ModelBackend, requests: list[GenerationRequest], decoding: DecodingConfig
) -> tuple[float, dict[str, GeneratedAnswer]]:
    """Answer the requests; return the seconds taken and the answers by request key."""
    answers: dict[str, GeneratedAnswer] = {}
    if CUDA:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    backend.answer(requests, decoding, lambda request, answer: answers.__setitem__(request.key, answer))
    return time.perf_counter() - started, answers


def bench_local(
    what: str,
    base: Path,
    adapters: dict[str, Path],
    requests: list[GenerationRequest],
    decoding: DecodingConfig,
    config: EvaluationConfig | None = None,
    runs: int = 1,
) -> None:
    """Time the local backend: load the models once and answer all requests `runs` times."""
    started = time.perf_counter()
    with LocalBackend(str(base), adapters, config or EvaluationConfig()) as backend:
        backend.load()
        load = time.perf_counter() - started
        for run in range(1, runs + 1):
            seconds, answers = timed_answers(backend, requests, decoding)
            tokens = sum(answer.new_tokens for answer in answers.values())
            say(what, run=run, precision=backend.precision, load_s=round(load, 1), answers=len(answers),
                seconds=round(seconds, 2), s_per_answer=round(seconds / len(answers), 3), new_tokens=tokens,
                new_tok_s=round(tokens / seconds))  # fmt: skip
    gc.collect()


def check_equality(scratch: Path) -> None:
    """Compare the answers of the static decoding loop with those of transformers' `generate`, in float32.

    Prints the number of equal answers. All answers should be equal. On a GPU, the static loop uses CUDA graphs.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    base = scratch / "tiny"
    make_base(base, TINY, spread=0.2)
    adapters = {name: make_adapter(scratch / f"tiny-{name}", TINY, i, 0.2) for i, name in enumerate(("v1", "v2"))}
    requests = make_requests(8, 150, 2000)
    for decoding in (
        DecodingConfig(max_new_tokens=128, stop_loops=False),
        DecodingConfig(max_new_tokens=128, temperature=0.7, repetition_penalty=1.2, penalty_scope="prompt"),
    ):
        texts = []
        for config in (
            EvaluationConfig(precision="fp32", engine="static"),
            EvaluationConfig(precision="fp32", engine="generate"),
        ):
            with LocalBackend(str(base), adapters, config) as backend:
                texts.append(timed_answers(backend, requests, decoding)[1])
        same = sum(texts[0][request.key].text == texts[1][request.key].text for request in requests)
        distinct = len({answer.text for answer in texts[0].values()})
        say("equal to generate, fp32", temperature=decoding.temperature, same=same, of=len(requests), distinct=distinct)


def main() -> None:
    """Run the measurements one after another. Once the deadline has passed, start no more of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--scratch", type=Path, default=Path("/dev/shm/insurance-rag-bench"))
    parser.add_argument("--deadline", type=float, default=290, help="seconds after which no more parts are started")
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
    requests = make_requests(20, length, shape["vocab_size"])
    # Nothing can end an answer early, so every answer has the maximum length.
    decoding = DecodingConfig(max_new_tokens=new, stop_loops=False, stop_strings=())
    reference = DecodingConfig.preset("after").model_copy(update={"max_new_tokens": new})
    nf4, generate = EvaluationConfig(precision="nf4"), EvaluationConfig(engine="generate")
    parts: list[Callable[[], None]] = [
        lambda: bench_local("static loop, Base+v1+v2 in one batch", base, adapters, requests, decoding, runs=2),
        lambda: bench_local("static loop, weights kept in NF4", base, adapters, requests, decoding, nf4),
        lambda: check_equality(args.scratch),
        lambda: bench_reference(base, adapters, requests, reference),
        lambda: bench_local("transformers generate, mixed batch", base, adapters, requests, decoding, generate),
    ]
    for part in parts:
        if time.perf_counter() - started < args.deadline:
            try:
                part()
            except RuntimeError as e:  # the other measurements may still succeed
                say("failed", error=f"{type(e).__name__}: {str(e)[:500]}")
    say("all", seconds=round(time.perf_counter() - started, 1))
    shutil.rmtree(args.scratch)


def bench_reference(
    base: Path, adapters: dict[str, Path], requests: list[GenerationRequest], decoding: DecodingConfig
) -> None:
    """Time the reference design (docs/origin.md) on one answer per model and extrapolate to 60 answers.

    The reference design loads each model separately, merges the adapter into 4-bit weights, and generates one answer
    at a time.
    """
    one_each = [next(request for request in requests if request.model == model) for model in MODELS]
    backend = ReferenceBackend(str(base), adapters)
    seconds, answers = timed_answers(backend, one_each, decoding)
    answering = sum(answer.seconds for answer in answers.values())
    say("reference design", answers=len(answers), seconds=round(seconds, 1),
        s_per_answer=round(answering / len(answers), 2), load_and_merge_s=round((seconds - answering) / 3, 2),
        new_tokens=sum(answer.new_tokens for answer in answers.values()),
        sixty_answers_s=round(seconds - answering + 20 * answering))  # fmt: skip


if __name__ == "__main__":
    main()
