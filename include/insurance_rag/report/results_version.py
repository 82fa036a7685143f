"""Detect that the results of a run have changed since a page was rendered."""

from __future__ import annotations

import hashlib

from insurance_rag.core.run_folder import RunFolder

#: Files that a page must be rendered again for. Progress files are not among them: they are polled separately.
RESULT_FILES = (
    "plan.json",
    "parts/*.manifest.json",
    "dataset/report.json",
    "adapters/*/training.json",
    "adapters/*/loss_history.jsonl",
    "evaluation/summary.json",
    "evaluation/sweep.json",
    "evaluation/decision.json",
)


def results_version(run: RunFolder) -> str:
    """Return a hash of the names, sizes and times of the result files. It only calls `stat` and reads no file."""
    digest = hashlib.sha256()
    for pattern in RESULT_FILES:
        for path in sorted(run.root.glob(pattern)):
            try:
                status = path.stat()
            except FileNotFoundError:  # removed since it was listed
                continue
            digest.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode())
    return digest.hexdigest()[:16]
