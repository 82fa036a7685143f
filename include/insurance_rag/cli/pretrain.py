"""Train the demo's tiny base model and its tokenizer from scratch on the chunks. This takes about a minute."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.pretrain import PretrainedModel

EXAMPLE = "insurance-rag pretrain --chunks sample --out run/base_model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--chunks",
        required=True,
        metavar="FILE",
        help='chunk file (JSON lines), or "sample" for the chunks that come with the project',
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write the model to")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a field of PretrainConfig, e.g. steps=100"
    )


def run(args: argparse.Namespace) -> PretrainedModel:
    """Train the model and return the artifact that describes it."""
    from insurance_rag.cli.train import limit_thread_spinning, progress_folder

    limit_thread_spinning()
    from demo.config import PretrainConfig
    from demo.pretrain import pretrain_base_model
    from insurance_rag.chunks.read import read_chunks
    from insurance_rag.core.config_base import parse_settings

    config = PretrainConfig.parse(parse_settings(args.set), "--set")
    return pretrain_base_model(read_chunks(args.chunks), args.out, config, progress_folder(args.out))
