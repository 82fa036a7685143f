"""Write requirements.lock and requirements.hashes from the output of `uv pip compile --generate-hashes`.

    python tools/lock_files.py COMPILED

`tools/lock.sh` runs this command.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

LOCK, HASHES = Path("requirements.lock"), Path("requirements.hashes")
HEADS = {
    LOCK: "# Written by `make lock`. Used as a constraint: pip install -c requirements.lock '.[EXTRA]'",
    HASHES: "# Written by `make lock`. Used as a constraint of uv: uv pip install -c requirements.hashes '.[EXTRA]'",
}
CUDA = re.compile(r"nvidia-|cuda-|triton==")
SEVERAL_BUILDS = re.compile(r"torch==")
"""Packages with several files of one version and platform, which are not all on PyPI."""


def entries(compiled: str) -> list[str]:
    """Return the pinned requirements, each with the lines of its hashes."""
    return [entry.rstrip() for entry in re.split(r"^(?=[^\s#])", compiled, flags=re.MULTILINE)[1:]]


def main(path: Path) -> None:
    """Write the two files into the working directory."""
    pinned = [entry for entry in entries(path.read_text(encoding="utf-8")) if not CUDA.match(entry)]
    versions = [entry.partition(" ")[0] for entry in pinned]
    hashed = [entry for entry in pinned if not SEVERAL_BUILDS.match(entry)]
    for file, lines in ((LOCK, versions), (HASHES, hashed)):
        file.write_text("\n".join([HEADS[file], *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
