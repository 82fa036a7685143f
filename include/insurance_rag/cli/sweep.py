"""Choose decoding settings on one half of the questions, and measure the chosen ones on the other half."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records import SweepArtifact

EXAMPLE = (
    "insurance-rag sweep --questions sample --chunks sample --base-model runs/demo/base_model \\\n"
    "      --adapter v1=runs/demo/adapters/llama-3-ko-insurance-lora --out runs/demo/sweep"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from insurance_rag.cli.evaluate import add_shared_arguments

    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> SweepArtifact:
    from insurance_rag.cli.evaluate import read_shared_arguments
    from insurance_rag.evaluation.sweep import sweep

    shared = read_shared_arguments(args)
    return sweep(
        shared.questions,
        shared.chunks,
        shared.base_model,
        shared.adapters,
        shared.out,
        shared.config,
        settings=shared.decoding,
        cache=shared.cache,
        progress=shared.progress,
    )
