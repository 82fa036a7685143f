"""Builds the Markdown text of the approval page: row counts, dropped rows per rule and sample rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.files import read_json
from insurance_rag.core.records import QARow
from insurance_rag.dataset.balance import drop_title

SAMPLES = 5


def review_text(dataset: Mapping[str, JsonValue]) -> str:
    """Return the text for `dataset`, a DatasetArtifact as plain JSON. The rows are read from the dataset folder."""
    folder = DatasetFolder(Path(str(dataset["uri"])))
    report = folder.read_report()
    rows: list[QARow] = read_json(folder.training("merged"))
    lines = [
        f"**{report.kept:,}** of {report.rows:,} rows kept, in `{folder.root}`.",
        "",
        "| dropped | rows |",
        "|---|---:|",
    ]
    lines += [f"| {_escape(drop_title(report, name))} | {n:,} |" for name, n in report.drops.items() if n]
    lines += ["", f"Samples ({SAMPLES} of {len(rows):,} training rows):", ""]
    step = max(1, len(rows) // SAMPLES)
    lines += [
        f"- **{_escape(row['instruction'])}** ({row['type']})  \n  {_escape(row['output'])}"
        for row in rows[::step][:SAMPLES]
    ]
    return "\n".join(lines)


def _escape(text: str) -> str:
    """Escape Markdown and HTML characters, because `text` was written by a model."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#|!" else c for c in text.replace("\n", " "))
