"""Calibrate a verifier, an adapter that was trained with the recipe `verifier`.

It scores right and wrong answers about documents that were held out from training. One half of them chooses the
threshold, the other half shows how many faults of each kind the verifier finds. The result is verifier.json in the
adapter folder, which `evaluate --verifier` needs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records.verifier import VerifierArtifact

EXAMPLE = (
    "insurance-rag verifier --adapter run/verifier --dataset run/dataset --base-model beomi/Llama-3-Open-Ko-8B --json"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--adapter", required=True, type=Path, metavar="DIR", help="folder of the verifier")
    parser.add_argument(
        "--dataset",
        required=True,
        type=Path,
        metavar="DIR",
        help="dataset folder that the verifier was trained on, with heldout_verifier.json",
    )
    parser.add_argument("--base-model", required=True, metavar="NAME|DIR", help="Hugging Face name or local folder")
    parser.add_argument(
        "--specificity",
        type=float,
        default=0.99,
        metavar="SHARE",
        help="fraction of right answers that must not be flagged (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "nf4", "nf4-dequantized", "bf16", "fp32"),
        default="auto",
        help="precision of the base model, as in EvaluationConfig (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> VerifierArtifact:
    import os

    # Spinning OpenMP threads make inference ten times slower if other processes use the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.evaluation.verifier.calibrate import calibrate

    if not 0.5 <= args.specificity < 1:
        raise InvalidInputError(f"--specificity {args.specificity}: not a usable fraction; give 0.5 to 0.999")
    return calibrate(
        args.adapter, args.dataset, args.base_model, specificity=args.specificity, precision=args.precision
    )
