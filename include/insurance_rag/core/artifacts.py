"""Describe finished files and folders by path and hash.

A manifest is written last, and readers trust only files and folders that have one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.hashing import sha256_file, sha256_tree
from insurance_rag.core.records.artifacts import Artifact

A = TypeVar("A", bound=Artifact)


def describe(path: Path, kind: type[A], **facts: object) -> A:
    """Return a record of class `kind` that describes the finished file or folder `path`.

    The record contains the absolute path (or the URI, if it is in an object store), the hash and the given `facts`.
    """
    digest = sha256_tree(path) if path.is_dir() else sha256_file(path)
    return kind.model_validate({"uri": public_uri(path), "sha256": digest, **facts})


def manifest_path(path: Path) -> Path:
    """Return the path of the manifest that is next to a file or folder."""
    return path.with_name(path.name + ".manifest.json")
