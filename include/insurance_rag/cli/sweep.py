"""Try decoding settings on one half of the questions and report the best once on the other."""

from __future__ import annotations

import argparse
from typing import Any

EXAMPLE = (
    "insurance-rag sweep --questions sample --chunks sample --base-model runs/demo/base_model \\\n"
    "      --adapter v1=runs/demo/adapters/llama-3-ko-insurance-lora --out runs/demo/sweep"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from insurance_rag.cli.evaluate import add_shared_arguments

    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from insurance_rag.cli.evaluate import read_shared_arguments
    from insurance_rag.evaluation.sweep import sweep

    return sweep(**read_shared_arguments(args))
