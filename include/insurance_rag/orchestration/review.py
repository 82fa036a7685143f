"""What a person sees before approving a dataset: counts, drops and a few rows, as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from insurance_rag.core.files import read_json

SAMPLES = 5


def review_text(dataset: dict[str, Any]) -> str:
    """Read beside the dataset by path: neither XCom nor the template carries its rows."""
    folder = Path(dataset["uri"])
    report = read_json(folder / "report.json")
    rows = read_json(folder / "train_dataset_final_v2.json")
    lines = [
        f"**{report['kept']:,}** of {report['rows']:,} rows kept, in `{folder}`.",
        "",
        "| dropped | rows |",
        "|---|---:|",
    ]
    lines += [f"| {reason} | {n:,} |" for reason, n in report["drops"].items() if n]
    lines += ["", f"Samples ({SAMPLES} of {len(rows):,} training rows):", ""]
    step = max(1, len(rows) // SAMPLES)
    lines += [
        f"- **{_plain(row['instruction'])}** ({row['type']})  \n  {_plain(row['output'])}"
        for row in rows[::step][:SAMPLES]
    ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text of a model, without the characters that Markdown or HTML would act on."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#|!" else c for c in text.replace("\n", " "))
