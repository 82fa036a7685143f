"""Decide by the promotion policy whether an adapter replaces the champion. Exits with code 4 if no adapter does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records import Decision

EXAMPLE = "insurance-rag promote --evaluation runs/demo/evaluation --registry registry --policy policy.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--evaluation", type=Path, required=True, help="folder that `evaluate` wrote")
    parser.add_argument(
        "--policy",
        type=Path,
        help="YAML file with policy settings; default: promotion/policy.yaml in the package, which shows every setting",
    )
    parser.add_argument("--registry", type=Path, help="folder with the champion, the adapters and all decisions")
    parser.add_argument("--dry-run", action="store_true", help="decide without changing the registry")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a field of PromotionConfig, e.g. margins.hallucination=0.02 or limits.empty=0.01; may be repeated",
    )


def run(args: argparse.Namespace) -> Decision:
    """Return the decision if an adapter is promoted. Otherwise raises GateRejectedError."""
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.errors import GateRejectedError
    from insurance_rag.promotion import decide
    from insurance_rag.promotion.policy import load_policy

    policy = load_policy(args.policy, parse_settings(args.set))
    decision = decide(args.evaluation, policy, args.registry, dry_run=args.dry_run)
    if decision.decision != "promote":
        advice = "\nkeep the champion, or evaluate another adapter" if decision.decision == "refuse" else ""
        raise GateRejectedError(f"{args.evaluation}: {decision.reason}{advice}")
    return decision
