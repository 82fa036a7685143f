"""Merge an adapter into the dequantised base and write it as one 16-bit model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = "insurance-rag export --adapter run/adapters/v2 --base-model run/base_model --out merged"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--adapter", required=True, type=Path, metavar="DIR", help="folder that `train` wrote")
    parser.add_argument("--base-model", required=True, metavar="NAME|DIR", help="the base it was trained on")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the merged model's folder")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from insurance_rag.training.export import export_adapter

    return export_adapter(args.adapter, args.base_model, args.out)
