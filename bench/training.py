"""Training speed and memory on one GPU, on the 8B shape with random weights and the row lengths of the published run.

    python bench/training.py --out results                    the table: source, plain TRL, and the recipes' presets
    python bench/training.py --out results --only "80GB;24GB" some of it
    python bench/training.py --out results --only "ddp2;fsdp2" on two GPUs
    python bench/training.py --out results --tiny             a rehearsal on a CPU

Each configuration is a process of its own, with a time limit; the next one imports its libraries while one runs. The
recipes are run by the product's own trainer (insurance_rag.training), plain TRL by TRL alone. tokens/s counts tokens
that are no padding, over whole optimizer steps after the warm-up ones. Writes training.json and training.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

ROWS, EPOCHS, MAX_TOKENS = 5434, 3, 2048
DATASHEET_TFLOPS = 989.0
"""H100 SXM, bf16 without sparsity."""

#: name -> (kind, settings over recipe v3, optimizer steps measured, share of the rows' tokens that pass the head)
RUNS: dict[str, dict[str, Any]] = {
    "source v1/v2": {"settings": {"profile": "source", "batch_size": 8, "micro_batch": 2}, "steps": 6},
    "source v3": {"settings": {"profile": "source"}, "steps": 5},
    "plain TRL, bf16": {"plain": True, "steps": 5},
    "80GB": {"settings": {"memory": "80GB"}, "steps": 16},
    "24GB": {"settings": {"memory": "24GB"}, "steps": 16},
    "8GB": {"settings": {"memory": "8GB"}, "steps": 4, "warm": 2},
    "80GB, 8 rows": {"settings": {"memory": "80GB", "micro_batch": 8}, "steps": 12},
    "80GB, bf16 base": {"settings": {"memory": "80GB", "micro_batch": 8, "quantization": "none"}, "steps": 12},
    "80GB, compiled": {
        "settings": {"memory": "80GB", "micro_batch": 8, "compile": True},
        "steps": 10,
        "warm": 8,
        "limit_s": 120,
    },
    "ddp2": {"settings": {"memory": "80GB", "batch_size": 32}, "steps": 12, "processes": 2},
    "fsdp2": {"settings": {"memory": "24GB", "batch_size": 32, "fsdp": True}, "steps": 8, "processes": 2},
}
DEFAULT = [name for name, run in RUNS.items() if run.get("processes", 1) == 1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", type=lambda s: s.split(";"), default=DEFAULT, help="names, separated by semicolons")
    parser.add_argument("--weights", type=Path, default=Path("/dev/shm/llama8b"))
    parser.add_argument("--budget", type=float, default=520, help="seconds for everything")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args)
    args.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + args.budget
    machine = prepare(args)
    names = [name for name in args.only if name in RUNS]
    results: dict[str, dict[str, Any]] = {}
    upcoming: subprocess.Popen[str] | None = None
    for name, following in zip(names, [*names[1:], None], strict=True):
        process = upcoming or start(args, name)
        # Import ahead, but not beside a run that takes every card, nor for one that starts by itself.
        ahead = following and RUNS[name].get("processes", 1) == RUNS[following].get("processes", 1) == 1
        upcoming = start(args, following) if ahead else None
        limit = min(RUNS[name].get("limit_s", 90), deadline - time.monotonic())
        results[name] = collect(process, name, limit)
        keep_log(args.out, name, failed="error" in results[name])
        print(name, json.dumps(results[name]), flush=True)
        write(args.out, machine, results)
    print((args.out / "training.md").read_text())
    return 0


# ---- the machine and the weights


def prepare(args: argparse.Namespace) -> dict[str, Any]:
    """Write the weights in a process of its own, so that this one holds no memory of the card."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import training as t; "
    code += f"t.make_weights({str(args.weights)!r}, {args.tiny})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the weights could not be made:\n{done.stderr[-3000:]}")
    machine: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(machine), flush=True)
    return machine


def make_weights(folder: str, tiny: bool) -> None:
    """A Llama-3-8B-shaped model with random bf16 weights, its tokenizer, and what the card's matrix product can do."""
    import torch
    from transformers import LlamaForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not (Path(folder) / "config.json").exists():
        with torch.device("meta"):
            model = LlamaForCausalLM(model_config(tiny)).to(torch.bfloat16)
        model = model.to_empty(device=device)
        generator = torch.Generator(device=device).manual_seed(0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.fill_(1.0) if "norm" in name else parameter.normal_(0, 0.02, generator=generator)
            for module in model.modules():  # buffers were empty, too
                if hasattr(module, "rope_init_fn"):
                    module.inv_freq = module.rope_init_fn(module.config, device)[0]
        model.save_pretrained(folder, max_shard_size="2GB")
        tokenizer(tiny).save_pretrained(folder)
    facts = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "torch": torch.__version__}
    if device == "cuda":
        facts["matmul_tflops"] = round(matmul_tflops(), 1)
    print(json.dumps(facts))


def matmul_tflops(n: int = 8192, times: int = 20) -> float:
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


def model_config(tiny: bool) -> Any:
    from transformers import LlamaConfig

    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    size = dict(zip(names, (2048, 128, 256, 2, 4) if tiny else (128256, 4096, 14336, 32, 32), strict=True))
    bos, eos = (1, 2) if tiny else (128000, 128001)
    return LlamaConfig(
        **size, num_key_value_heads=2 if tiny else 8, max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        bos_token_id=bos, eos_token_id=eos, tie_word_embeddings=False, rms_norm_eps=1e-5,
    )  # fmt: skip


def tokenizer(tiny: bool) -> Any:
    """A word a token: the rows are random tokens, only the special ones matter."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    config = model_config(tiny)
    words = [f"t{i}" for i in range(config.vocab_size)]
    words[config.bos_token_id], words[config.eos_token_id], words[-1] = (
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|pad|>",
    )
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="t0"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>", pad_token="<|pad|>"
    )


def make_rows(tiny: bool, n: int = ROWS, seed: int = 7) -> list[dict[str, list[int]]]:
    """Rows of the published run's lengths (lognormal, mean 898, at most 2,048 tokens); 12 % of it is answers."""
    rng, rows = random.Random(seed), []
    vocabulary = model_config(tiny).vocab_size - 300
    for _ in range(n):
        length = int(min(MAX_TOKENS, max(96, rng.lognormvariate(math.log(900) - 0.125 + 0.022, 0.5))))
        answer = int(min(length // 2, max(24, rng.lognormvariate(math.log(100), 0.45))))
        if tiny:
            length, answer = max(8, length // 32), max(2, answer // 32)
        ids = rng.choices(range(10, vocabulary), k=length)
        rows.append({"input_ids": ids, "labels": [-100] * (length - answer) + ids[-answer:]})
    return rows


# ---- one configuration, in a process of its own


def start(args: argparse.Namespace, name: str) -> subprocess.Popen[str]:
    """Start a worker; it imports its libraries and then waits for the word to go."""
    processes = RUNS[name].get("processes", 1)
    launcher = (
        [
            "-m",
            "torch.distributed.run",
            f"--nproc-per-node={processes}",
            f"--master-port={29577 + list(RUNS).index(name)}",
        ]
        if processes > 1
        else []
    )
    command = [
        sys.executable,
        *launcher,
        __file__,
        "--worker",
        "--out",
        str(args.out),
        "--only",
        name,
        "--weights",
        str(args.weights),
    ]
    errors = log_of(name).open("w")
    return subprocess.Popen(
        command + ["--tiny"] * args.tiny, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
    )


def log_of(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"bench-{os.getpid()}-{list(RUNS).index(name)}.log"


def keep_log(out: Path, name: str, *, failed: bool) -> None:
    """The end of every worker's standard error in one file; more of it where the worker failed."""
    text = log_of(name).read_text(errors="replace")
    with (out / "logs.txt").open("a") as f:
        f.write(f"==== {name}\n{text[-6000 if failed else -1000 :]}\n")


def collect(process: subprocess.Popen[str], name: str, limit_s: float) -> dict[str, Any]:
    """Let the worker go and read its result; past its limit it is killed and says so."""
    if limit_s < 20:
        process.kill()
        return {"error": "no time left"}
    timer = threading.Timer(limit_s, process.kill)
    timer.start()
    output, _ = process.communicate("go\n" * RUNS[name].get("processes", 1))
    timer.cancel()
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if lines:
        return json.loads(lines[-1].removeprefix("RESULT "))  # type: ignore[no-any-return]
    return {
        "error": f"no result within {limit_s:.0f} s"
        if process.returncode == -9
        else f"exit {process.returncode}, see its log"
    }


def worker(args: argparse.Namespace) -> int:
    from trl import SFTConfig, SFTTrainer  # noqa: F401  imported before the clock starts

    import insurance_rag.training.trainer  # noqa: F401

    name = args.only[0]
    rows = make_rows(args.tiny, 600 if args.tiny else 1600)
    if "RANK" not in os.environ:
        sys.stdin.readline()
    started = time.monotonic()
    try:
        result = measure(args, name, rows)
    except Exception as e:  # noqa: BLE001  a failed configuration is a result of the table
        import traceback

        traceback.print_exc()
        result = {"error": f"{type(e).__name__}: {str(e)[:300]}"}
    if os.environ.get("RANK", "0") == "0":
        print("RESULT " + json.dumps({**result, "wall_s": round(time.monotonic() - started, 1)}), flush=True)
    os._exit(0)  # no time for tearing CUDA down


def measure(args: argparse.Namespace, name: str, rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    import torch
    from transformers import AutoTokenizer

    run = RUNS[name]
    warm, steps = run.get("warm", 3), run["steps"]
    timer = step_timer()
    build = plain_trl if run.get("plain") else ours
    with tempfile.TemporaryDirectory() as work:
        trainer, facts = build(
            args, run, rows, warm + steps, timer, AutoTokenizer.from_pretrained(args.weights), Path(work)
        )
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        trainer.train()
        seconds = [end - begin for begin, end in zip(timer.ends[warm - 1 :], timer.ends[warm:], strict=False)]
        counts = [row["num_tokens"] for row in trainer.state.log_history if "num_tokens" in row and "loss" in row]
        tokens = [b - a for a, b in zip(counts[warm - 1 :], counts[warm:], strict=False)]
        steps_gib = peak_gib()
        if not run.get("plain"):  # what the whole run would meet, not only these steps
            worst = largest_micro_batch(rows, trainer.args.per_device_train_batch_size)
            trainer.training_step(trainer.model, trainer.data_collator(worst), torch.tensor(1000))
        losses = [round(row["loss"], 4) for row in trainer.state.log_history if "loss" in row]
    return {
        "tokens_per_s": round(sum(tokens) / sum(seconds)),
        "tokens_per_s_median_step": round(statistics.median(t / s for t, s in zip(tokens, seconds, strict=True))),
        "step_s": round(statistics.median(seconds), 3),
        "steps": len(seconds),
        "peak_gib": peak_gib(),
        "peak_gib_of_the_steps": steps_gib,
        "losses": losses,
        **facts,
    }


def peak_gib() -> float:
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else 0.0


def largest_micro_batch(rows: list[dict[str, list[int]]], size: int, batch: int = 16) -> list[dict[str, list[int]]]:
    """The largest micro-batch of as many optimizer batches as the three epochs have."""
    from insurance_rag.training.sampler import deal

    rng, lengths = random.Random(1), [len(row["input_ids"]) for row in rows]
    dealt = (deal(rng.sample(range(len(rows)), batch), lengths, size) for _ in range(ROWS * EPOCHS // batch))
    groups = (order[i : i + size] for order in dealt for i in range(0, batch, size))
    return [rows[i] for i in max(groups, key=lambda group: sum(lengths[i] for i in group))]


def step_timer() -> Any:
    import torch
    from transformers import TrainerCallback

    class StepTimer(TrainerCallback):  # type: ignore[misc]
        ends: list[float] = []  # noqa: RUF012

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())

    return StepTimer()


def ours(
    args: argparse.Namespace, run: dict[str, Any], rows: list[Any], steps: int, timer: Any, tokenizer: Any, work: Path
) -> tuple[Any, dict[str, Any]]:
    """The product's own parts, as train_adapter puts them together."""
    from transformers import AutoConfig

    from insurance_rag.training.memory import make_plan, shape_of
    from insurance_rag.training.model import find_device, load_base
    from insurance_rag.training.recipe import load_recipe
    from insurance_rag.training.trainer import build_trainer

    fixed = {"max_steps": steps, "log_every": 1, "save_every": 1000, "eval_every": None, "report_to": []}
    config = load_recipe("v3", {**run["settings"], **fixed})
    if not config.completion_only:
        rows = [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in rows]
    shape = shape_of(AutoConfig.from_pretrained(args.weights), config.lora.target_modules)
    plan = make_plan(config, shape, [len(row["input_ids"]) for row in rows], find_device())
    base = load_base(str(args.weights), config, plan)
    trainer = build_trainer(base, tokenizer, rows, [], config, plan, work, [timer])
    return trainer, {"plan": str(plan), "estimate_gib": plan.estimate_gib}


def plain_trl(
    args: argparse.Namespace, run: dict[str, Any], rows: list[Any], steps: int, timer: Any, tokenizer: Any, work: Path
) -> tuple[Any, dict[str, Any]]:
    """What one gets from TRL's documentation: NF4, peft's preparation, padded batches, checkpointing, bf16."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    cuda = torch.cuda.is_available()
    base = AutoModelForCausalLM.from_pretrained(
        args.weights, dtype=torch.bfloat16, device_map={"": 0 if cuda else "cpu"}, quantization_config=quantization
    )
    trainer = SFTTrainer(
        model=prepare_model_for_kbit_training(base),
        args=SFTConfig(
            output_dir=str(work), per_device_train_batch_size=4, gradient_accumulation_steps=4, max_steps=steps,
            learning_rate=2e-4, warmup_steps=0.03, bf16=True, use_cpu=not cuda, optim="paged_adamw_32bit",
            max_length=MAX_TOKENS, logging_steps=1, save_strategy="no", disable_tqdm=True, seed=42,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=16, lora_alpha=32, lora_dropout=0.05, task_type="CAUSAL_LM",
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        ),
        callbacks=[timer],
    )  # fmt: skip
    return trainer, {"plan": "4 rows x 4, checkpointing, paged_adamw_32bit, completion-only, padded"}


# ---- the table


def flops_per_token(completion_only: bool) -> float:
    """Needed operations a token: frozen weights forward and for activations' gradients, attention; nothing twice."""
    c = model_config(tiny=False)
    lengths = [len(row["input_ids"]) for row in make_rows(tiny=False, n=1600)]
    width = c.hidden_size // c.num_attention_heads
    linear = (
        c.num_hidden_layers
        * c.hidden_size
        * (2 * c.hidden_size + 2 * c.num_key_value_heads * width + 3 * c.intermediate_size)
    )
    head = c.vocab_size * c.hidden_size * (0.12 if completion_only else 1.0)
    context = sum(n * n / 2 for n in lengths) / sum(lengths)
    attention = 2 * 2 * context * c.hidden_size * c.num_hidden_layers * 3.5
    return 4.0 * (linear + head) + attention


def write(out: Path, machine: dict[str, Any], results: dict[str, dict[str, Any]]) -> None:
    total = sum(len(row["input_ids"]) for row in make_rows(tiny=False)) * EPOCHS
    lines = [
        f"{machine['device']}, torch {machine['torch']}, bf16 matrix product"
        f" {machine.get('matmul_tflops', '-')} TFLOP/s; {total / 1e6:.2f} M tokens in {EPOCHS} epochs.",
        "",
        "| configuration | tokens/s | median step | x source v3 | minutes | peak GiB"
        " | of these steps | estimate | MFU | of the matmul | layout |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    source = results.get("source v3", {}).get("tokens_per_s")
    for name, r in results.items():
        if "error" in r:
            lines.append(f"| {name} | {r['error']} | | | | | | | | | |")
            continue
        used = r["tokens_per_s"] * flops_per_token("source" not in name) / 1e12 / RUNS[name].get("processes", 1)
        r["minutes"], r["mfu"] = round(total / r["tokens_per_s"] / 60, 1), round(used / DATASHEET_TFLOPS, 3)
        of_matmul = f"{used / machine['matmul_tflops']:.0%}" if "matmul_tflops" in machine else "-"
        times = f"{r['tokens_per_s'] / source:.2f}" if source else "-"
        lines.append(
            f"| {name} | {r['tokens_per_s']:,} | {r['tokens_per_s_median_step']:,} | {times} | {r['minutes']} |"
            f" {r['peak_gib']} | {r['peak_gib_of_the_steps']} |"
            f" {r.get('estimate_gib', '-')} | {r['mfu']:.0%} | {of_matmul} | {r['plan']} |"
        )
    (out / "training.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "training.json").write_text(json.dumps({"machine": machine, "runs": results}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
