"""Describe finished files and folders by path and hash, and write their manifests.

A manifest is written last, and readers trust only files and folders that have one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from insurance_rag.core.artifact_store.locations import public_uri
from insurance_rag.core.files import write_json
from insurance_rag.core.hashing import sha256_file, sha256_tree
from insurance_rag.core.records.artifacts import Artifact

A = TypeVar("A", bound=Artifact)


def describe(path: Path, kind: type[A], **facts: object) -> A:
    """Return a record of class `kind` that describes the finished file or folder `path`.

    The record contains the absolute path (or the URI, if it is in an object store), the hash and the given `facts`.
    """
    digest = sha256_tree(path) if path.is_dir() else sha256_file(path)
    return kind.model_validate({"uri": public_uri(path), "sha256": digest, **facts})


def artifact(path: Path, **facts: Any) -> dict[str, Any]:
    """Describe a file or folder for XCom: return a dict with its path or URI, its hash and the given `facts`."""
    digest = sha256_tree(path) if path.is_dir() else sha256_file(path)
    return {"uri": public_uri(path), "sha256": digest, **facts}


def write_manifest(path: Path, *, parents: Iterable[dict[str, Any]] = (), **facts: Any) -> dict[str, Any]:
    """Write `<path>.manifest.json` next to a finished file or folder, and return its content.

    The manifest holds the path or URI, the hash, the given `facts`, and the paths and hashes of `parents`. Parents
    are the artifacts that the file or folder was made from.
    """
    manifest = {
        **artifact(path, **facts),
        "parents": [{"uri": p["uri"], "sha256": p["sha256"]} for p in parents],
    }
    write_json(manifest_path(path), manifest)
    return manifest


def manifest_path(path: Path) -> Path:
    return path.with_name(path.name + ".manifest.json")
