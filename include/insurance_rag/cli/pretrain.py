"""Train the demo's tiny base model (a Llama with its own tokenizer) from scratch on the chunks, in about a minute."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.pretrain import PretrainedModel

EXAMPLE = "insurance-rag pretrain --chunks sample --out run/base_model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--chunks",
        required=True,
        metavar="FILE",
        help='JSONL file of chunks, or "sample" for those that are part of the project',
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the model")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of PretrainConfig, e.g. steps=100"
    )


def run(args: argparse.Namespace) -> PretrainedModel:
    """Train the model and return its artifact."""
    from insurance_rag.cli.train import limit_thread_spinning, progress_folder

    limit_thread_spinning()
    from demo.config import PretrainConfig
    from demo.pretrain import pretrain_base_model
    from insurance_rag.chunks.read import read_chunks
    from insurance_rag.core.config_base import parse_settings

    config = PretrainConfig.parse(parse_settings(args.set), "--set")
    return pretrain_base_model(read_chunks(args.chunks), args.out, config, progress_folder(args.out))
