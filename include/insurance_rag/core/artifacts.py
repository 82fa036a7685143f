"""Describe finished files and folders by URI and hash; a manifest is written last, and readers trust only manifests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from insurance_rag.core.files import write_json
from insurance_rag.core.hashing import sha256_file, sha256_tree
from insurance_rag.core.records.artifacts import Artifact

A = TypeVar("A", bound=Artifact)


def describe(path: Path, kind: type[A], **facts: object) -> A:
    """Return the artifact record of a finished file or folder: `kind(uri, sha256, **facts)`."""
    digest = sha256_tree(path) if path.is_dir() else sha256_file(path)
    return kind.model_validate({"uri": str(path.resolve()), "sha256": digest, **facts})


def artifact(path: Path, **facts: Any) -> dict[str, Any]:
    """What XCom carries of a file or folder: `{uri, sha256, **facts}`, never its content."""
    digest = sha256_tree(path) if path.is_dir() else sha256_file(path)
    return {"uri": str(path.resolve()), "sha256": digest, **facts}


def write_manifest(path: Path, *, parents: Iterable[dict[str, Any]] = (), **facts: Any) -> dict[str, Any]:
    """Write `<path>.manifest.json` next to a finished file or folder: its hash, its facts, its parents' hashes."""
    manifest = {
        **artifact(path, **facts),
        "parents": [{"uri": p["uri"], "sha256": p["sha256"]} for p in parents],
    }
    write_json(manifest_path(path), manifest)
    return manifest


def manifest_path(path: Path) -> Path:
    return path.with_name(path.name + ".manifest.json")
