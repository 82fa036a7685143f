"""report.json: the funnel by rule, by shard, by type, with samples, shares, and the drift against an earlier report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from insurance_rag.config import ValidationConfig
from insurance_rag.core.errors import InvalidInputError
from insurance_rag.core.files import read_json
from insurance_rag.core.hashing import sha256_text
from insurance_rag.core.records import Chunk
from insurance_rag.dataset import RAG, Built
from insurance_rag.dataset.balance import balance_report
from insurance_rag.validation.check import KEPT, Table
from insurance_rag.validation.contamination import Split
from insurance_rag.validation.rules import REPAIRABLE
from insurance_rag.validation.select import Selection

SAMPLES = 5
"""Rows shown of each reason."""
DRIFT_POINTS = 0.05
"""A share that moved by more than this against the earlier report is named."""


def make_report(
    table: Table,
    chosen: Selection,
    built: Built,
    split: Split,
    config: ValidationConfig,
    labels: Sequence[str],
    chunks: Sequence[Chunk],
) -> dict[str, Any]:
    """The report but for drift and data hash. `kept` counts what passed every rule and cap, held-out rows among it."""
    rag_rows = max(1, built.rows[RAG])
    return {
        **_funnel(table, config.rules, labels, chosen.surplus),
        "training": len(chosen.training),
        "held_out": len(chosen.heldout),
        "repairable": sum(
            int((table.dropped_by == n).sum()) for n, name in enumerate(config.rules) if name in REPAIRABLE
        ),
        "mended": dict(sorted(table.mended.items())),
        "asked_again": _asked_again(table),
        "files": built.rows,
        "rag": {
            "unanswerable": built.unanswerable,
            "unanswerable_share": round(built.unanswerable / rag_rows, 4),
            "with_distractors": built.with_distractors,
            "distractor_share": round(built.with_distractors / rag_rows, 4),
        },
        "balance": balance_report(chosen.groups),
        "split": {
            "documents": sorted(split.documents),
            "leaking_chunks": sorted(split.leaking),
            "questions_sha256": split.sha256,
        },
        "samples": _samples(table, config.rules),
        "lineage": {
            "chunks_sha256": sha256_text(*sorted(chunk.model_dump_json() for chunk in chunks)) if chunks else None,
            **_teachers(table, chosen),
        },
        "settings": config.model_dump(mode="json"),
    }


def _funnel(table: Table, rules: Sequence[str], labels: Sequence[str], surplus: Sequence[int]) -> dict[str, Any]:
    reason = table.dropped_by.copy()
    reason[list(surplus)] = len(rules)
    names = [*rules, "balance"]
    parts, kinds = np.unique(table.part).tolist(), sorted(set(table.types.tolist()))
    return {
        **_counts(reason, names),
        "by_shard": {labels[part]: _counts(reason[table.part == part], names) for part in parts},
        "by_type": {kind or "unknown": _counts(reason[table.types == kind], names) for kind in kinds},
    }


def _counts(reason: Any, names: Sequence[str]) -> dict[str, Any]:
    drops = {name: int((reason == position).sum()) for position, name in enumerate(names)}
    return {"rows": len(reason), "kept": int((reason == KEPT).sum()), "drops": drops}


def _asked_again(table: Table) -> dict[str, Any]:
    """Rows of second answers, and how many of them passed the rules, by the fault of the first."""
    rows = Counter(table.asked_again.values())
    kept = Counter(reason for i, reason in table.asked_again.items() if table.dropped_by[i] == KEPT)
    by_reason = {reason: {"rows": n, "kept": kept[reason]} for reason, n in sorted(rows.items())}
    return {"rows": rows.total(), "kept": kept.total(), "by_reason": by_reason}


def _samples(table: Table, rules: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """The first rows of every reason, with the span at fault."""
    found: dict[str, list[dict[str, str]]] = {}
    for position, name in enumerate(rules):
        for i in np.flatnonzero(table.dropped_by == position)[:SAMPLES].tolist():
            row = table.row(i)
            texts = {"instruction": row.instruction, "output": row.output, "span": table.spans.get(i, "")}
            short = {key: text[:300] for key, text in texts.items()}
            found.setdefault(name, []).append({"chunk_id": row.chunk_id, "type": row.type, **short})
    return found


def _teachers(table: Table, chosen: Selection) -> dict[str, list[str]]:
    """Models and prompt versions that the kept rows name in their meta."""
    found: dict[str, Counter[str]] = {"model": Counter(), "prompt_version": Counter()}
    for i in [*chosen.training, *chosen.heldout]:
        meta = table.row(i).meta or {}
        for name, counts in found.items():
            if value := meta.get(name):
                counts[str(value)] += 1
    return {name: sorted(counts) for name, counts in found.items()}


def read_report(path: Path) -> dict[str, Any]:
    """An earlier report; InvalidInputError where the file is none."""
    report = read_json(path)
    if not isinstance(report, dict) or not {"rows", "kept", "drops", "by_type"} <= report.keys():
        raise InvalidInputError(f"{path}: is no report.json of `validate`; give the one of an earlier dataset folder")
    return report


def drift(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Shares of kept rows, reasons and types, before and now; `notable` names the leaps."""
    old, new = _shares(before), _shares(now)
    names = sorted({*old, *new})
    shares = {n: {"before": round(old.get(n, 0.0), 4), "now": round(new.get(n, 0.0), 4)} for n in names}
    leaps = [n for n, share in shares.items() if abs(share["now"] - share["before"]) > DRIFT_POINTS]
    return {"rows": {"before": before["rows"], "now": now["rows"]}, "shares": shares, "notable": leaps}


def _shares(report: dict[str, Any]) -> dict[str, float]:
    rows, kept = max(1, report["rows"]), max(1, report["kept"])
    return {
        "kept": report["kept"] / rows,
        **{f"drops.{name}": n / rows for name, n in report["drops"].items()},
        **{f"types.{name}": counts["kept"] / kept for name, counts in report["by_type"].items()},
    }
