"""Show the model registry, and change its champion by hand.

`list` shows every adapter, the state of its files, and all changes of the champion. `show` checks the champion and
names its folder. `promote` makes an evaluated adapter the champion, whatever the gate decided. `rollback` goes back to
an earlier champion. Both need a person and a reason, which the log of decisions keeps.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from insurance_rag.cli.actions import add_action

if TYPE_CHECKING:
    from pydantic import BaseModel

EXAMPLES = {
    "list": "insurance-rag registry list --registry registry",
    "show": "insurance-rag registry show --registry registry",
    "promote": "insurance-rag registry promote v2 --registry registry --by kim --reason 'approved by claims'",
    "rollback": "insurance-rag registry rollback --registry registry --by kim --reason 'wrong amounts in production'",
}
EXAMPLE = "\n  ".join(EXAMPLES.values())
HELP: Mapping[str, str] = {
    "list": "show all adapters and all changes of the champion",
    "show": "check the champion and show its folder",
    "promote": "make an evaluated adapter the champion by hand",
    "rollback": "go back to an earlier champion",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_text in HELP.items():
        add = functools.partial(_add_arguments, name)
        add_action(actions, name, help_text, f"example:\n  {EXAMPLES[name]}", add)


def _add_arguments(name: str, action: argparse.ArgumentParser) -> None:
    action.add_argument("--registry", type=Path, help="folder or URI of the model registry (default: $REGISTRY)")
    if name == "promote":
        action.add_argument("adapter", help="name of the adapter, or the beginning of its hash")
    if name == "rollback":
        action.add_argument(
            "--to", metavar="ADAPTER", help="name or beginning of the hash; default: the previous champion"
        )
    if name in ("promote", "rollback"):
        action.add_argument("--by", required=True, metavar="NAME", help="person who decides")
        action.add_argument("--reason", required=True, help="why")


def run(args: argparse.Namespace) -> BaseModel:
    """Show or change the registry. Raises InvalidInputError if it is damaged or the adapter cannot be served."""
    import os

    from insurance_rag.cli.store_arguments import workspace_of
    from insurance_rag.core.artifact_store.locations import local_path
    from insurance_rag.core.errors import InvalidInputError

    named = os.environ.get("REGISTRY")
    root: Path | None = args.registry or (local_path(named) if named else None)
    if root is None:
        raise InvalidInputError("--registry: missing; give the folder or URI of the registry, or set REGISTRY")
    with workspace_of([] if args.registry else [root]):  # an argument was fetched before
        return _act(root, args)


def _act(root: Path, args: argparse.Namespace) -> BaseModel:
    """Show or change the registry in the folder `root`."""
    from insurance_rag.promotion.champions import list_registry, promote_by_hand, roll_back, show_champion

    if args.action == "list":
        return list_registry(root)
    if args.action == "promote":
        return promote_by_hand(root, args.adapter, args.by, args.reason)
    if args.action == "rollback":
        return roll_back(root, args.by, args.reason, args.to)
    return show_champion(root)
