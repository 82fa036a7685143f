"""The product's packages and source files, which the generated pages describe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("insurance_rag", "gemini_simulator", "demo")


def product_files() -> Iterator[tuple[str, Path]]:
    """Yield (module, file) for every module of the product."""
    include = ROOT / "include"
    for package in PACKAGES:
        for path in sorted((include / package).rglob("*.py")):
            yield ".".join(path.relative_to(include).with_suffix("").parts), path
