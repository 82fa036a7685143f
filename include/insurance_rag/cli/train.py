"""Train a QLoRA adapter by a recipe; the same command again resumes from the last checkpoint."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

EXAMPLE = (
    "insurance-rag train --recipe v2 --dataset run/dataset --base-model beomi/Llama-3-Open-Ko-8B --out run/adapters/v2"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", required=True, metavar="NAME|FILE", help="v1, v2, v3, smoke, or a YAML file")
    parser.add_argument(
        "--dataset", required=True, type=Path, metavar="DIR|FILE", help="dataset folder, or one of its files"
    )
    parser.add_argument("--base-model", required=True, metavar="NAME|DIR", help="Hugging Face name or local folder")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the adapter's folder")
    parser.add_argument(
        "--heldout",
        type=Path,
        metavar="FILE",
        help="rows for the held-out loss (default: heldout.json beside the dataset)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting over the recipe; profile=source|smoke",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    share_cores()
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.training.launch import check_cards, destroy_process_group, is_launched, launch
    from insurance_rag.training.recipe import load_recipe
    from insurance_rag.training.train import train_adapter

    recipe = load_recipe(args.recipe, parse_settings(args.set))
    if recipe.gpus > 1 and not is_launched():
        check_cards(recipe.gpus)
        raise SystemExit(launch(recipe.gpus, _argv(args)))
    result = train_adapter(recipe, args.dataset, args.base_model, args.out, args.heldout, progress_folder(args.out))
    destroy_process_group()
    return result


def _argv(args: argparse.Namespace) -> list[str]:
    """The command again, for the processes of several cards."""
    paths = ["--dataset", str(args.dataset), "--base-model", args.base_model, "--out", str(args.out)]
    heldout = ["--heldout", str(args.heldout)] if args.heldout else []
    settings = [word for setting in args.set for word in ("--set", setting)]
    return ["train", "--recipe", args.recipe, *paths, *heldout, *settings, *["--json"] * args.json]


def share_cores() -> None:
    """Let idle threads sleep instead of spin: beside other work, spinning made small models' steps ten times slower.

    Read by the OpenMP runtime when torch is imported, so this comes first.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def progress_folder(out: Path) -> Path | None:
    """The run folder's progress files, where `out` lies in a run folder."""
    from insurance_rag.core.run_folder import RunFolder

    runs = (RunFolder(parent) for parent in out.resolve().parents)
    return next((run.progress for run in runs if run.plan.is_file() or run.config.is_file()), None)
