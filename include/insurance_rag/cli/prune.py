"""Remove old runs. Runs that the registry, a published dataset or a decision rests on are always kept."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insurance_rag.core.records.retention import PruneResult

EXAMPLE = """insurance-rag prune --root artifacts --registry registry --older-than 30d --keep-last 5 --dry-run
  insurance-rag prune --root s3://bucket/artifacts --registry s3://bucket/registry --older-than 12w"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", help="folder or URI with the runs (default: $ARTIFACT_ROOT)")
    parser.add_argument(
        "--registry",
        action="append",
        default=[],
        metavar="DIR",
        help="model registry whose decisions rest on runs; may be repeated (default: $REGISTRY)",
    )
    parser.add_argument("--no-registry", action="store_true", help="there is no model registry")
    parser.add_argument(
        "--older-than", required=True, metavar="AGE", help="remove runs whose newest file is older, e.g. 30d, 12h or 2w"
    )
    parser.add_argument("--keep-last", type=int, default=0, metavar="N", help="keep the N newest runs in each folder")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    parser.set_defaults(fetches_arguments=False)


def run(args: argparse.Namespace) -> PruneResult:
    """Remove the runs, or show what would be removed. Raises InvalidInputError for an invalid argument."""
    from insurance_rag.core.artifact_store.locations import local_path
    from insurance_rag.core.errors import InvalidInputError
    from insurance_rag.retention.prune import parse_age, prune

    older_than_s = parse_age(args.older_than)
    if args.keep_last < 0:
        raise InvalidInputError(f"--keep-last {args.keep_last}: too small; give 0 or more")
    root: str | None = args.root or os.environ.get("ARTIFACT_ROOT")
    if not root:
        raise InvalidInputError("--root: missing; give the artifact root, or set ARTIFACT_ROOT")
    registries = args.registry or [name for name in [os.environ.get("REGISTRY")] if name]
    if not registries and not args.no_registry:
        raise InvalidInputError(
            "--registry: missing, so it is not known which runs the adapter in service rests on; give the registry, or "
            "--no-registry if there is none"
        )
    folders = [local_path(name).resolve() for name in registries]
    return prune(local_path(root).resolve(), folders, older_than_s, args.keep_last, dry_run=args.dry_run)
