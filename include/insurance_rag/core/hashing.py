"""SHA-256 hashes of files, folders and strings, as 64 hexadecimal digits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def sha256_file(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sha256_text(*parts: str) -> str:
    """Return one hash of several strings.

    The strings are joined as JSON, so that ("ab", "c") and ("a", "bc") have different hashes.
    """
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def sha256_tree(folder: Path) -> str:
    """Hash the relative paths and contents of all files below `folder`, sorted by path."""
    entries = [(p.relative_to(folder).as_posix(), sha256_file(p)) for p in sorted(folder.rglob("*")) if p.is_file()]
    return sha256_text(*(f"{name} {digest}" for name, digest in entries))


def model_identity(name: str) -> str:
    """Return a string that changes when a model or adapter changes.

    For a local folder, the string is a hash of the configuration file and of the name, size and modification time of
    every weight file. The weights themselves are not read, because hashing 16 GB takes longer than answering a
    question. For a Hugging Face name, the string is the name.
    """
    folder = Path(name)
    if not folder.is_dir():
        return name
    config = sha256_file(folder / "config.json") if (folder / "config.json").exists() else ""
    files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.glob("*.safetensors"))]
    return sha256_text(config, str(files))
