"""Decide by the policy whether an adapter replaces the champion. Exit 4 unless it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = "insurance-rag promote --evaluation runs/demo/evaluation --registry registry --set margin=0.02"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--evaluation", type=Path, required=True, help="folder that `evaluate` wrote")
    parser.add_argument("--policy", type=Path, help="YAML file of the rules")
    parser.add_argument("--registry", type=Path, help="folder that keeps champion, adapters and decisions")
    parser.add_argument("--dry-run", action="store_true", help="decide, and leave the registry as it is")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one rule, e.g. margin=0.02")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from insurance_rag.config import PromotionConfig
    from insurance_rag.core.config_base import parse_settings
    from insurance_rag.core.errors import GateRejectedError
    from insurance_rag.promotion import decide

    settings = _read_policy(args.policy) if args.policy else {}
    policy = PromotionConfig.parse(settings | parse_settings(args.set), str(args.policy or "--set"))
    decision = decide(args.evaluation, policy, args.registry, dry_run=args.dry_run)
    if decision["decision"] != "promote":
        raise GateRejectedError(decision["reason"])
    return decision


def _read_policy(path: Path) -> dict[str, Any]:
    import yaml

    from insurance_rag.core.errors import InvalidInputError

    try:
        settings = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise InvalidInputError(f"{path}: cannot be read as YAML ({e})") from e
    if not isinstance(settings, dict):
        raise InvalidInputError(f"{path}: key: value pairs are wanted")
    return settings
