"""Train a QLoRA adapter from a recipe, or one adapter per seed.

Run the same command again to resume from the last checkpoint.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records.training import AdapterArtifact, TrainedSeeds

EXAMPLE = (
    "insurance-rag train --recipe v2 --dataset run/dataset --base-model beomi/Llama-3-Open-Ko-8B --out run/adapters/v2"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        required=True,
        metavar="NAME|FILE",
        help="v1, v2, v3, v4, smoke, another recipe that ships with the package, or a YAML file",
    )
    parser.add_argument(
        "--dataset", required=True, type=Path, metavar="DIR|FILE", help="dataset folder, or one of its files"
    )
    parser.add_argument("--base-model", required=True, metavar="NAME|DIR", help="Hugging Face name or local folder")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write the adapter to")
    parser.add_argument(
        "--heldout",
        type=Path,
        metavar="FILE",
        help="rows for the held-out loss (default: heldout.json in the dataset folder; for recipes that learn from "
        "pairs, heldout_preference.json)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="train N adapters, with the recipe's seed and the N - 1 next ones, into DIR/seed-SEED (default: 1, into "
        "DIR itself)",
    )
    parser.add_argument(
        "--init-adapter",
        type=Path,
        metavar="DIR",
        help="start from the weights of this adapter, e.g. to train on preference pairs after supervised training "
        "(default: start from the base model)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting of the recipe, e.g. max_steps=300, lora.r=8 or profile=reference|smoke",
    )


def run(args: argparse.Namespace) -> AdapterArtifact | TrainedSeeds:
    """Train the adapters, with one process per GPU. With --seeds 1, return the adapter's artifact."""
    limit_thread_spinning()
    avoid_memory_fragments()
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.records.training import TrainedSeeds
    from insurance_rag.training.launch import check_gpu_count, destroy_process_group, is_launched, launch
    from insurance_rag.training.recipe import load_recipe, recipe_name
    from insurance_rag.training.seeds import check_seeds, train_seeds

    settings = parse_settings(args.set)
    if args.init_adapter:
        settings["init_adapter"] = str(args.init_adapter)
    recipe, name = load_recipe(args.recipe, settings), recipe_name(args.recipe)
    check_seeds(args.seeds, args.out)
    if recipe.gpus > 1 and not is_launched():
        check_gpu_count(recipe.gpus)
        raise SystemExit(launch(recipe.gpus, _worker_argv(args)))
    progress = progress_folder(args.out)
    trained = train_seeds(recipe, args.seeds, args.dataset, args.base_model, args.out, args.heldout, progress, name)
    destroy_process_group()
    return trained[0] if args.seeds == 1 else TrainedSeeds(recipe=name, adapters=trained)


def _worker_argv(args: argparse.Namespace) -> list[str]:
    """Return the command line that each worker process (one per GPU) runs."""
    paths = ["--dataset", str(args.dataset), "--base-model", args.base_model, "--out", str(args.out)]
    heldout = ["--heldout", str(args.heldout)] if args.heldout else []
    start = ["--init-adapter", str(args.init_adapter)] if args.init_adapter else []
    settings = [word for setting in args.set for word in ("--set", setting)]
    seeds = ["--seeds", str(args.seeds)]
    return ["train", "--recipe", args.recipe, *paths, *heldout, *start, *seeds, *settings, *["--json"] * args.json]


def limit_thread_spinning() -> None:
    """Let idle OpenMP threads sleep. If they spin on a busy machine, steps of small models take 10 times longer.

    Call this function before torch is imported, because the OpenMP runtime reads the setting during the import.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def avoid_memory_fragments() -> None:
    """Let torch extend blocks of GPU memory instead of adding new ones. The memory estimates are made for this setting.

    Call this function before torch is imported. It does nothing if a person has set either name of the setting.
    """
    if not os.environ.get("PYTORCH_CUDA_ALLOC_CONF"):
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")


def progress_folder(out: Path) -> Path | None:
    """Return the progress folder of the run that `out` belongs to, or None if `out` is not in a run folder."""
    from insurance_rag.core.run_folder import RunFolder

    runs = (RunFolder(parent) for parent in out.resolve().parents)
    return next((run.progress for run in runs if run.plan.is_file() or run.config.is_file()), None)
