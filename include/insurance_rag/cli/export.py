"""Merge an adapter into its dequantized base model and write the result as one 16-bit model."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = "insurance-rag export --adapter run/adapters/v2 --base-model run/base_model --out merged"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--adapter", required=True, type=Path, metavar="DIR", help="folder that `train` wrote")
    parser.add_argument(
        "--base-model", required=True, metavar="NAME|DIR", help="base model that the adapter was trained on"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write the merged model to")


def run(args: argparse.Namespace) -> dict[str, object]:
    """Write the merged model and return the artifact that describes it."""
    from insurance_rag.training.export import export_adapter

    return export_adapter(args.adapter, args.base_model, args.out).model_dump(mode="json")
