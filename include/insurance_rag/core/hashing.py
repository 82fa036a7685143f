"""Hashes of files, folders and texts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def sha256_file(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sha256_text(*parts: str) -> str:
    """Hash of several texts, unambiguous about where one ends."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def sha256_tree(folder: Path) -> str:
    """Hash of a folder: relative names and contents, in name order."""
    entries = [(p.relative_to(folder).as_posix(), sha256_file(p)) for p in sorted(folder.rglob("*")) if p.is_file()]
    return sha256_text(*(f"{name} {digest}" for name, digest in entries))


def model_identity(name: str) -> str:
    """Who a model or adapter is: the files of a local folder by name, size and time, else the name itself.

    Weights are not read for this: hashing 16 GB would cost more than answering a question.
    """
    folder = Path(name)
    if not folder.is_dir():
        return name
    config = sha256_file(folder / "config.json") if (folder / "config.json").exists() else ""
    files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.glob("*.safetensors"))]
    return sha256_text(config, str(files))
