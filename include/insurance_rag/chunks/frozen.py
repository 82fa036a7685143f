"""The hash of a set of evaluation questions, and the manifest that protects a frozen set from changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Question


def questions_sha256(questions: Iterable[Question]) -> str:
    """Return the hash that `ValidationConfig.questions_sha256` is compared with. The order does not matter."""
    return sha256_text(*sorted(question.model_dump_json() for question in questions))


def frozen_manifest_path(questions: Path) -> Path:
    """Return the path of the manifest of a frozen set: FROZEN.manifest.json for FROZEN.jsonl."""
    return questions.with_suffix(".manifest.json")


def check_frozen(path: Path, questions: Sequence[Question]) -> None:
    """Raise InvalidInputError if the set has a manifest with another hash, because somebody changed the set.

    A set without a manifest is not frozen.
    """
    manifest = frozen_manifest_path(path)
    content = read_json(manifest) if manifest.is_file() else {}
    expected = content.get("questions_sha256") if isinstance(content, dict) else None
    if expected is not None and expected != (found := questions_sha256(questions)):
        raise InvalidInputError(
            f"{path}: was changed after it was frozen (its hash is {found}, but {manifest.name} has {expected}); "
            "restore the file, or freeze the changed questions under another name"
        )
