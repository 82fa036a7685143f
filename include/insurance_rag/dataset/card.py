"""The dataset card: README.md with the header Hugging Face reads, made from the report alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import yaml

_SIZES = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
CARD = Path(__file__).parent / "card.txt"


def render_card(report: dict[str, Any]) -> str:
    """The card's text; the same report gives the same card."""
    files = report["files"]
    header = {
        "language": ["ko"],
        "task_categories": ["question-answering", "text-generation"],
        "tags": ["insurance", "rag", "qlora", "synthetic"],
        "size_categories": [next((name for limit, name in _SIZES if report["kept"] < limit), "n>1M")],
        "configs": [
            {"config_name": name, "data_files": [{"split": "train", "path": path}]}
            for name, path in (
                ("v1_plain", "train_dataset.json"),
                ("v2_rag", "train_dataset_rag.json"),
                ("v3_merged", "train_dataset_final_v2.json"),
            )
        ],
    }
    rag = report["rag"]
    values = {
        "header": yaml.safe_dump(header, allow_unicode=True, sort_keys=False).strip(),
        "rows": f"{report['rows']:,}",
        "kept": f"{report['kept']:,}",
        "kept_share": f"{100 * report['kept'] / max(1, report['rows']):.1f}",
        "files": _table(("file", "rows"), [(name, f"{n:,}") for name, n in files.items()]),
        "funnel": _table(("step", "dropped", "left"), _funnel(report)),
        "asked_again": "{rows:,} (of which {kept:,} kept)".format(**report["asked_again"]),
        "types": _balance(report, "type"),
        "companies": _balance(report, "company"),
        "unanswerable": f"{rag['unanswerable']:,} ({100 * rag['unanswerable_share']:.1f} %)",
        "distractors": f"{rag['with_distractors']:,} ({100 * rag['distractor_share']:.1f} %)",
        "heldout": ", ".join(report["split"]["documents"]) or "none",
        "lineage": _table(("what", "value"), [(k, _short(v)) for k, v in report["lineage"].items()]),
    }
    return Template(CARD.read_text(encoding="utf-8")).substitute(values)


def _funnel(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    left = report["rows"]
    rows = []
    for reason, n in report["drops"].items():
        left -= n
        rows.append((reason, f"{n:,}", f"{left:,}"))
    return rows


def _balance(report: dict[str, Any], name: str) -> str:
    groups = report["balance"].get(name, {})
    return _table(
        (name, "rows", "share"), [(g, f"{v['rows']:,}", f"{100 * v['share']:.1f} %") for g, v in groups.items()]
    )


def _short(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
