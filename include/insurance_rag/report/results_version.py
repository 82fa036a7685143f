"""Detect whether the results of a run have changed since a page was rendered."""

from __future__ import annotations

import hashlib

from insurance_rag.core.run_folder import RunFolder

#: When one of these files changes, the page must be rendered again. Progress files are polled separately.
RESULT_FILES = (
    "plan.json",
    "parts/*.manifest.json",
    "dataset/report.json",
    "adapters/*/training.json",
    "adapters/*/loss_history.jsonl",
    "adapters/*/seed-*/training.json",
    "adapters/*/seed-*/loss_history.jsonl",
    "evaluation/summary.json",
    "evaluation/sweep.json",
    "evaluation/decision.json",
)


def results_version(run: RunFolder) -> str:
    """Return a hash of the paths, sizes and modification times of the result files, without reading the files."""
    digest = hashlib.sha256()
    for pattern in RESULT_FILES:
        for path in sorted(run.root.glob(pattern)):
            try:
                status = path.stat()
            except FileNotFoundError:  # deleted after it was listed
                continue
            digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()[:16]
