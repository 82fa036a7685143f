"""Adds the actions of a command, such as `questions make`, each with its help, examples and arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_action(
    actions: Actions, name: str, help_text: str, epilog: str, add_arguments: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Add one action with the arguments that `add_arguments` adds, and `--json`."""
    action = actions.add_parser(
        name,
        help=help_text,
        description=help_text,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(action)
    # Without a default, a --json before the action is not overwritten.
    action.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON on the last line"
    )
