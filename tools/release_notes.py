"""Print the section of CHANGELOG.md about a release, after checking that its tag fits the version of the package.

    python3 tools/release_notes.py v0.3.0

Exits with 2 if the tag is not the version in `include/insurance_rag/__init__.py`, or if the changelog has no dated
section about it. Needs no packages.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def package_version() -> str:
    """Return the version of the package."""
    text = (ROOT / "include/insurance_rag/__init__.py").read_text(encoding="utf-8")
    return re.findall(r'^__version__ = "(.+)"$', text, re.M)[0]


def release_notes(changelog: str, version: str) -> str | None:
    """Return the text about a version, or None if there is no section `## VERSION - DATE`."""
    sections = re.split(r"^## ", changelog, flags=re.M)
    found = [text for text in sections if re.match(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d\n", text)]
    return found[0].partition("\n")[2].strip() + "\n" if found else None


def main(argv: list[str] | None = None) -> int:
    """Print the notes. Return 2 if the tag, the version and the changelog do not fit together, otherwise 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="tag of the release, e.g. v0.3.0")
    tag = parser.parse_args(argv).tag
    version = package_version()
    if tag != f"v{version}":
        print(f"tag {tag}: the package has version {version}; tag v{version}, or change the version", file=sys.stderr)
        return 2
    notes = release_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    if notes is None:
        print(f"CHANGELOG.md: no section `## {version} - DATE`; write one before the release", file=sys.stderr)
        return 2
    print(notes, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
