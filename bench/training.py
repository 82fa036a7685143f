"""Measure the speed and the GPU memory of training a model in the shape of Llama 3 8B with random weights.

    python -m bench.training --out results                       all configurations for one GPU
    python -m bench.training --out results --only "80GB;24GB"    some configurations
    python -m bench.training --out results --only "ddp2;fsdp2"   the configurations for two GPUs
    python -m bench.training --out results --tiny                a tiny model on a CPU, to test the script

The configurations are the settings of the reference design, plain TRL (without product code), and the memory presets
with variations. They run in the given order until the time budget is used up.
Each configuration runs in a separate process with a time limit. Meanwhile, the process for the next configuration
already imports its libraries. Tokens per second are measured over whole optimizer steps after the warm-up, without
padding tokens. Writes training.json, training.md and logs.txt after each configuration.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

from bench.training_configurations import RUNS, SINGLE_GPU_RUNS
from bench.training_runs import Result, run_worker
from bench.training_table import write_table
from bench.training_weights import prepare_weights

MIN_RUN_S = 20.0
"""A configuration is skipped if fewer than this many seconds of the time budget are left."""
FIRST_PORT = 29577


def main() -> int:
    args = parse_arguments()
    if args.worker:
        name = args.only[0]
        profile = args.out / f"profile-{list(RUNS).index(name)}.txt" if name in args.profile else None
        run_worker(RUNS[name], args.weights, profile, tiny=args.tiny)
    args.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + args.budget
    machine = prepare_weights(args.weights, tiny=args.tiny)
    print(machine.model_dump_json(), flush=True)
    names: list[str] = [name for name in args.only if name in RUNS]
    results: dict[str, Result] = {}
    prepared: subprocess.Popen[str] | None = None
    for name, following in zip(names, [*names[1:], None], strict=True):
        process = prepared or start_worker(args, name)
        # A worker on several GPUs does not wait for its turn, so it starts only when no other worker is running.
        may_prepare = following is not None and RUNS[name].processes == RUNS[following].processes == 1
        prepared = start_worker(args, following) if following is not None and may_prepare else None
        results[name] = collect_result(process, name, min(RUNS[name].limit_s, deadline - time.monotonic()))
        keep_log(args.out, name, failed=results[name].error is not None)
        print(name, results[name].model_dump_json(exclude_defaults=True), flush=True)
        write_table(args.out, machine, results)
    print((args.out / "training.md").read_text())
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--only", type=lambda s: s.split(";"), default=SINGLE_GPU_RUNS, help="configurations, separated by semicolons"
    )
    parser.add_argument("--weights", type=Path, default=Path("/dev/shm/llama8b"), help="folder for 16 GB of weights")
    parser.add_argument("--budget", type=float, default=520, help="seconds for all configurations together")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument(
        "--profile",
        type=lambda s: s.split(";"),
        default=[],
        help="configurations for which profile-N.txt shows where the time of a micro-batch goes",
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def start_worker(args: argparse.Namespace, name: str) -> subprocess.Popen[str]:
    """Start the worker process for the configuration `name`.

    A single-GPU worker imports its libraries and then waits for a line on stdin.
    """
    launcher: list[str] = []
    if RUNS[name].processes > 1:
        port = FIRST_PORT + list(RUNS).index(name)
        launcher = [
            "-m", "torch.distributed.run", f"--nproc-per-node={RUNS[name].processes}", f"--master-port={port}"
        ]  # fmt: skip
    options = ["--worker", "--out", str(args.out), "--only", name, "--weights", str(args.weights)]
    options += ["--profile", ";".join(args.profile)]
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "bench.training", *options, *["--tiny"] * args.tiny],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log_path(name).open("w"),
        text=True,
    )


def collect_result(process: subprocess.Popen[str], name: str, limit_s: float) -> Result:
    """Signal the worker to start its measurement, and return its result. Kills the worker after `limit_s` seconds."""
    if limit_s < MIN_RUN_S:
        process.kill()
        return Result(error="no time left")
    timer = threading.Timer(limit_s, process.kill)
    timer.start()
    output, _ = process.communicate("start\n")
    timer.cancel()
    lines = [line for line in output.splitlines() if line.startswith("RESULT ")]
    if lines:
        return Result.model_validate_json(lines[-1].removeprefix("RESULT "))
    if process.returncode == -9:
        return Result(error=f"no result within {limit_s:.0f} s")
    return Result(error=f"exit code {process.returncode}; see logs.txt")


def log_path(name: str) -> Path:
    """Return the path of the file that captures a worker's standard error."""
    return Path(tempfile.gettempdir()) / f"bench-{os.getpid()}-{list(RUNS).index(name)}.log"


def keep_log(out: Path, name: str, *, failed: bool) -> None:
    """Append the last part of a worker's standard error to logs.txt: 6,000 characters if it failed, otherwise 1,000."""
    text = log_path(name).read_text(errors="replace")
    with (out / "logs.txt").open("a") as f:
        f.write(f"==== {name}\n{text[-6000 if failed else -1000 :]}\n")


if __name__ == "__main__":
    raise SystemExit(main())
