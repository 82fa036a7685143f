"""Write random weights in the shape of Llama 3 8B, and make random rows as long as those of the reference design.

When run as a command, this module writes the weights and prints a Machine as JSON.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from insurance_rag.training.encoding import IGNORE_INDEX, EncodedRow

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

ROWS, EPOCHS, MAX_TOKENS = 5434, 3, 2048


class Machine(BaseModel):
    """The device and the throughput of its matrix multiplication."""

    device: str
    torch: str
    """Version of PyTorch."""
    matmul_tflops: float | None = None
    """TFLOP/s when multiplying two 8192 x 8192 bf16 matrices; None on a CPU."""


def prepare_weights(folder: Path, *, tiny: bool) -> Machine:
    """Run `write_weights` in a separate process, so that this process does not occupy GPU memory."""
    command = [sys.executable, "-m", "bench.training_weights", str(folder), *["--tiny"] * tiny]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise SystemExit(f"the weights could not be written:\n{process.stderr[-3000:]}")
    return Machine.model_validate_json(process.stdout.splitlines()[-1])


def write_weights(folder: Path, *, tiny: bool) -> Machine:
    """Write random bf16 weights and a tokenizer unless they exist, and time a matrix multiplication."""
    import torch
    from transformers import LlamaForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not (folder / "config.json").exists():
        with torch.device("meta"):
            model = LlamaForCausalLM(model_config(tiny=tiny)).to(torch.bfloat16)
        model = model.to_empty(device=device)
        generator = torch.Generator(device=device).manual_seed(0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.fill_(1.0) if "norm" in name else parameter.normal_(0, 0.02, generator=generator)
            for module in model.modules():  # `to_empty` left the buffers of the rotary embedding uninitialized
                if hasattr(module, "rope_init_fn"):
                    module.inv_freq = module.rope_init_fn(module.config, device)[0]
        model.save_pretrained(folder, max_shard_size="2GB")
        make_tokenizer(tiny=tiny).save_pretrained(folder)
    if device == "cpu":
        return Machine(device="cpu", torch=torch.__version__)
    tflops = round(matmul_tflops(), 1)
    return Machine(device=torch.cuda.get_device_name(), torch=torch.__version__, matmul_tflops=tflops)


def matmul_tflops(n: int = 8192, times: int = 20) -> float:
    """Return the GPU's throughput in TFLOP/s when multiplying two n x n matrices in bf16."""
    import torch

    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        a @ b
    torch.cuda.synchronize()
    return 2 * n**3 * times / (time.perf_counter() - started) / 1e12


def model_config(*, tiny: bool) -> LlamaConfig:
    """Return the configuration of Llama 3 8B, or of a tiny model to test the script with."""
    from transformers import LlamaConfig

    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    size = dict(zip(names, (2048, 128, 256, 2, 4) if tiny else (128256, 4096, 14336, 32, 32), strict=True))
    bos, eos = (1, 2) if tiny else (128000, 128001)
    return LlamaConfig(
        **size, num_key_value_heads=2 if tiny else 8, max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        bos_token_id=bos, eos_token_id=eos, tie_word_embeddings=False, rms_norm_eps=1e-5,
    )  # fmt: skip


def make_tokenizer(*, tiny: bool) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per word. As the rows are random tokens, only the special tokens matter."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    config = model_config(tiny=tiny)
    special = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>", "pad_token": "<|pad|>"}
    words = [f"t{i}" for i in range(config.vocab_size)]
    words[config.bos_token_id], words[config.eos_token_id], words[-1] = special.values()
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="t0"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def make_rows(*, tiny: bool, n: int = ROWS, seed: int = 7) -> list[EncodedRow]:
    """Return rows of random tokens with lognormal lengths: 898 tokens on average, at most 2,048.

    About 12 % of the tokens belong to answers. With `tiny`, the rows have one 32nd of this length.
    """
    rng = random.Random(seed)
    rows: list[EncodedRow] = []
    vocabulary = model_config(tiny=tiny).vocab_size - 300
    for _ in range(n):
        length = int(min(MAX_TOKENS, max(96, rng.lognormvariate(math.log(900) - 0.125 + 0.022, 0.5))))
        answer = int(min(length // 2, max(24, rng.lognormvariate(math.log(100), 0.45))))
        if tiny:
            length, answer = max(8, length // 32), max(2, answer // 32)
        ids = rng.choices(range(10, vocabulary), k=length)
        rows.append({"input_ids": ids, "labels": [IGNORE_INDEX] * (length - answer) + ids[-answer:]})
    return rows


if __name__ == "__main__":
    print(json.dumps(write_weights(Path(sys.argv[1]), tiny="--tiny" in sys.argv).model_dump()))
