"""Ask the promotion gate about every adapter of bench/real_weights.py as the only challenger of Base."""

from __future__ import annotations

from pathlib import Path

from insurance_rag.core.files import read_json, read_jsonl, write_json, write_jsonl
from insurance_rag.core.records import Decision
from insurance_rag.evaluation.requests import BASE
from insurance_rag.promotion.decide import decide


def gate_decisions(evaluation: Path, scratch: Path) -> dict[str, Decision]:
    """Return the decision on each adapter. `evaluation` holds summary.json and answers.jsonl.

    The gate corrects its intervals for the number of challengers. A user would only submit the adapter of one seed.
    """
    summary = read_json(evaluation / "summary.json")
    rows = read_jsonl(evaluation / "answers.jsonl")
    assert isinstance(summary, dict)
    found = {}
    for name in summary["adapters"]:
        folder = scratch / name
        folder.mkdir(parents=True, exist_ok=True)
        one = {key: {m: v for m, v in summary[key].items() if m in (BASE, name)} for key in ("models", "adapters")}
        write_json(folder / "summary.json", {**summary, **one})
        write_jsonl(folder / "answers.jsonl", [row for row in rows if row["model"] in (BASE, name)])
        found[name] = decide(folder)
    return found


def save_decisions(decisions: dict[str, Decision], path: Path) -> None:
    """Write all decisions to one JSON file."""
    content = {name: decision.model_dump(mode="json") for name, decision in decisions.items()}
    write_json(path, content)
