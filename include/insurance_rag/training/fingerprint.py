"""Identity of a training: decides whether a call resumes an earlier training or starts a new one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from insurance_rag.config import TrainingConfig
from insurance_rag.core.hashing import model_identity, sha256_file, sha256_text

#: Settings that decide where and how fast a training runs, but not what it learns.
_EXECUTION_SETTINGS = {"memory_preset", "gpus", "report_to", "logging_steps", "save_steps", "torch_compile"}


def training_fingerprint(
    config: TrainingConfig, files: Sequence[Path | None], base_model: str, revision: str | None
) -> str:
    """Return 16 hexadecimal digits that are equal for equal settings, data files (held-out rows too) and base model."""
    digests = [sha256_file(path) if path else "" for path in files]
    settings = config.model_dump(mode="json", exclude=_EXECUTION_SETTINGS)
    identity = model_identity(base_model)
    return sha256_text(json.dumps(settings, sort_keys=True), *digests, identity, revision or "")[:16]
