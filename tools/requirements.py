"""Print the dependencies declared in pyproject.toml, one per line. The Dockerfile installs them in a separate layer.

    python tools/requirements.py train gpu      the dependencies of the package and of the extras train and gpu

Without arguments, prints only the dependencies of the package.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path("pyproject.toml")


def requirements(*extras: str) -> list[str]:
    """Return the dependencies of the package and of `extras`. Raises SystemExit for an unknown extra."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    if unknown := [extra for extra in extras if extra not in optional]:
        raise SystemExit(f"unknown extra {unknown[0]!r}; available: {', '.join(optional)}")
    return [*project["dependencies"], *(line for extra in extras for line in optional[extra])]


if __name__ == "__main__":
    print("\n".join(requirements(*sys.argv[1:])))
