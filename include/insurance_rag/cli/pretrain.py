"""Train the demo's small base model (a Llama with its own tokenizer) from scratch on the clauses, in about a minute."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = "insurance-rag pretrain --chunks sample --out run/base_model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--chunks",
        required=True,
        metavar="FILE",
        help='clauses, JSON lines; "sample" takes those that ship with the project',
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the model's folder")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, e.g. steps=100")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from insurance_rag.cli.train import progress_folder, limit_thread_spinning

    limit_thread_spinning()
    from demo.config import PretrainConfig
    from demo.pretrain import pretrain_base
    from insurance_rag.chunks.read import read_chunks
    from insurance_rag.core.config_base import parse_settings

    config = PretrainConfig.parse(parse_settings(args.set), "--set")
    return pretrain_base(read_chunks(args.chunks), args.out, config, progress_folder(args.out))
