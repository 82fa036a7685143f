"""Decide by the promotion policy whether an adapter replaces the champion. Exits with code 4 if no adapter does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

if TYPE_CHECKING:
    from insurance_rag.core.records import Decision

EXAMPLE = "insurance-rag promote --evaluation runs/demo/evaluation --registry registry --set margin=0.02"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--evaluation", type=Path, required=True, help="folder that `evaluate` wrote")
    parser.add_argument("--policy", type=Path, help="YAML file with policy settings")
    parser.add_argument("--registry", type=Path, help="folder with the champion, the adapters and all decisions")
    parser.add_argument("--dry-run", action="store_true", help="decide without changing the registry")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a field of PromotionConfig, e.g. margin=0.02 or limits.empty=0.01; may be repeated",
    )


def run(args: argparse.Namespace) -> Decision:
    """Return the decision if an adapter is promoted. Otherwise raises GateRejectedError."""
    from insurance_rag.config import PromotionConfig
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.errors import GateRejectedError
    from insurance_rag.promotion import decide

    settings = _read_policy(args.policy) if args.policy else {}
    policy = PromotionConfig.parse(_merged(settings, parse_settings(args.set)), str(args.policy or "--set"))
    decision = decide(args.evaluation, policy, args.registry, dry_run=args.dry_run)
    if decision.decision != "promote":
        advice = "; keep the champion, or evaluate another adapter" if decision.decision == "refuse" else ""
        raise GateRejectedError(f"{args.evaluation}: {decision.reason}{advice}")
    return decision


def _merged(policy: dict[str, JsonValue], changes: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the policy with the changes. Limits of metrics that `changes` does not mention are kept."""
    limits, changed = policy.get("limits"), changes.get("limits")
    if isinstance(limits, dict) and isinstance(changed, dict):
        changes = {**changes, "limits": {**limits, **changed}}
    return policy | changes


def _read_policy(path: Path) -> dict[str, JsonValue]:
    import yaml

    from insurance_rag.core.errors import InvalidInputError

    try:
        settings = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise InvalidInputError(f"{path}: cannot be read as YAML ({e}); check the path and the file") from e
    if not isinstance(settings, dict):
        raise InvalidInputError(f"{path}: not a mapping; write one `key: value` per line")
    return settings
