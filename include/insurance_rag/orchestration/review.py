"""What a person sees before approving a dataset: counts, dropped rows by rule and a few rows, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from insurance_rag.core.files import read_json
from insurance_rag.core.records import ValidationReport

SAMPLES = 5


def review_text(dataset: Mapping[str, JsonValue]) -> str:
    """Return the text for the artifact of a dataset, as XCom carries it. The rows are read from the dataset folder."""
    folder = Path(str(dataset["uri"]))
    report = ValidationReport.model_validate(read_json(folder / "report.json"))
    rows = read_json(folder / "train_dataset_final_v2.json")
    lines = [
        f"**{report.kept:,}** of {report.rows:,} rows kept, in `{folder}`.",
        "",
        "| dropped | rows |",
        "|---|---:|",
    ]
    lines += [f"| {reason} | {n:,} |" for reason, n in report.drops.items() if n]
    lines += ["", f"Samples ({SAMPLES} of {len(rows):,} training rows):", ""]
    step = max(1, len(rows) // SAMPLES)
    lines += [
        f"- **{_escape(row['instruction'])}** ({row['type']})  \n  {_escape(row['output'])}"
        for row in rows[::step][:SAMPLES]
    ]
    return "\n".join(lines)


def _escape(text: str) -> str:
    """Escape the characters that mean something in Markdown or HTML: the text was written by a model."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#|!" else c for c in text.replace("\n", " "))
