"""Hashes of files, folders and texts (SHA-256, 64 hexadecimal digits)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def sha256_file(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sha256_text(*parts: str) -> str:
    """Hash several texts. Parts are joined as JSON, so that ("ab", "c") and ("a", "bc") differ."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def sha256_tree(folder: Path) -> str:
    """Hash the relative names and contents of all files below `folder`, in name order."""
    entries = [(p.relative_to(folder).as_posix(), sha256_file(p)) for p in sorted(folder.rglob("*")) if p.is_file()]
    return sha256_text(*(f"{name} {digest}" for name, digest in entries))


def model_identity(name: str) -> str:
    """Return a string that changes when a model or adapter changes.

    For a local folder it is a hash of its configuration and of each weight file's name, size and modification time;
    weights are not read, because hashing 16 GB would take longer than answering a question. Otherwise it is the name.
    """
    folder = Path(name)
    if not folder.is_dir():
        return name
    config = sha256_file(folder / "config.json") if (folder / "config.json").exists() else ""
    files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.glob("*.safetensors"))]
    return sha256_text(config, str(files))
