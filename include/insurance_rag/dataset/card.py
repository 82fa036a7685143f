"""Builds the dataset card from the validation report. The card is a README.md with a header for Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

import yaml
from pydantic import JsonValue

from insurance_rag.core.dataset_folder import DatasetFolder
from insurance_rag.core.prompt_templates import PROMPT_FORMATS, RAG
from insurance_rag.core.records import ValidationReport
from insurance_rag.core.records.style import StyleSummary
from insurance_rag.dataset.balance import drop_title

CARD = Path(__file__).parent / "card.txt"
SIZES = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
"""Hugging Face size categories as (exclusive upper limit on the number of rows, name of the category)."""
LARGEST_SIZE = "n>1M"


def render_card(report: ValidationReport) -> str:
    """Return the Markdown text of the dataset card."""
    contexts = report.contexts
    values = {
        "header": _header(report),
        "rows": f"{report.rows:,}",
        "kept": f"{report.kept:,}",
        "kept_share": f"{100 * report.kept / max(1, report.rows):.1f}",
        "files": _table(("file", "rows"), [(name, f"{n:,}") for name, n in report.files.items()]),
        "formats": "\n".join(
            f"- `{entry.file}`: {entry.title}"
            for entry in PROMPT_FORMATS.entries.values()
            if entry.file in report.files
        ),
        "funnel": _table(("rule", "reason", "rows dropped", "rows left"), _funnel(report)),
        "repairs": f"{report.repairs.rows:,} (of which {report.repairs.kept:,} kept)",
        "types": _balance(report, "type"),
        "companies": _balance(report, "company"),
        "style": _table(("type", "rows", "words of the clause", "yes", "no", "refusals"), _style(report.style)),
        "style_facts": _style_facts(report.style),
        "unanswerable": f"{contexts.unanswerable:,} ({100 * contexts.unanswerable_share:.1f} %)",
        "distractors": f"{contexts.with_distractors:,} ({100 * contexts.distractor_share:.1f} %)",
        "split": _split(report),
        "teachers": _table(("teacher model", "rows", "share"), _teachers(report)),
        "lineage": _table(("property", "value"), _lineage(report)),
    }
    return Template(CARD.read_text(encoding="utf-8")).substitute(values)


def _header(report: ValidationReport) -> str:
    header = {
        **_license(report),
        "language": ["ko"],
        "task_categories": ["question-answering", "text-generation"],
        "tags": ["insurance", "rag", "qlora", "synthetic"],
        "size_categories": [next((name for limit, name in SIZES if report.kept < limit), LARGEST_SIZE)],
        "configs": [
            {"config_name": name, **({"default": True} if name == RAG.name else {}), "data_files": splits}
            for name in PROMPT_FORMATS.entries
            if (splits := _splits(report, name))
        ],
    }
    return yaml.safe_dump(header, allow_unicode=True, sort_keys=False).strip()


def _license(report: ValidationReport) -> dict[str, str]:
    """Return the fields about the licence. The Hub wants a name for a licence that it does not know."""
    known = _setting(report, "license")
    return {"license": str(known)} if known else {"license": "other", "license_name": "terms-of-the-insurers"}


def _splits(report: ValidationReport, prompt_format: str) -> list[dict[str, str]]:
    """Return the files with rows in a prompt format: for training, and held out. Parquet copies if there are any."""
    folder = DatasetFolder(Path())
    files = {"train": folder.training(prompt_format), "heldout": folder.heldout(prompt_format)}
    return [
        {"split": split, "path": (folder.parquet(path) if _setting(report, "parquet") else path).as_posix()}
        for split, path in files.items()
        if report.files.get(path.name)
    ]


def _setting(report: ValidationReport, name: str) -> JsonValue:
    settings = report.settings.get("dataset")
    return settings.get(name) if isinstance(settings, dict) else None


def _funnel(report: ValidationReport) -> list[tuple[str, ...]]:
    left = report.rows
    lines: list[tuple[str, ...]] = []
    for name, n in report.drops.items():
        left -= n
        lines.append((name, drop_title(report, name), f"{n:,}", f"{left:,}"))
    return lines


def _split(report: ValidationReport) -> str:
    """Return what is held out and why, with a table of both sides."""
    split = report.split
    if split.unit is None:
        return "Nothing is held out."
    repeats = (
        f"{len(split.leaking_chunks)} other chunks repeat a gold chunk (one that contains the answer to an evaluation "
        f"question) and are not used for training. {len(split.repeated_chunks)} held-out chunks repeat a training "
        "chunk and are not used for the held-out rows."
    )
    sides = [
        ("training", f"{split.training_chunks:,}", f"{report.training:,}"),
        ("held out", f"{split.held_out_chunks:,}", f"{report.held_out:,}"),
    ]
    names = "\n".join(f"- {name}" for name in split.names)
    return "\n\n".join(
        [
            f"Evaluation questions are about them, so {split.reason}.",
            _table(("side", "chunks", "rows"), sides),
            repeats,
            f"Held out:\n\n{names}",
        ]
    )


def _balance(report: ValidationReport, grouping: str) -> str:
    groups = report.balance.get(grouping, {})
    lines = [(name, f"{group.rows:,}", f"{100 * group.share:.1f} %") for name, group in groups.items()]
    return _table((grouping, "rows", "share"), lines)


def _style(style: StyleSummary) -> list[tuple[str, ...]]:
    """Return one line per question type and one for all types."""
    return [
        (name, f"{f.rows:,}", _percent(f.copied_share), f"{f.yes_answers:,}", f"{f.no_answers:,}", f"{f.refusals:,}")
        for name, f in {**style.by_type, "all": style}.items()
    ]


def _style_facts(style: StyleSummary) -> str:
    facts = {
        "Calculations whose answer shows its steps": f"{style.calculations_with_steps:,} of {style.calculations:,}",
        "Answers with a preamble or Markdown": f"{style.formatted:,}",
        "Mean length of the evidence, in characters": f"{style.evidence_characters or 0:.0f}",
        "Different first two words of the questions": f"{style.openings:,}, the most frequent ones in "
        f"{_percent(style.top_opening_share)} of the questions",
        "Registers": _mix(style.registers),
        "Personas": _mix(style.personas),
        "Difficulties": _mix(style.difficulties),
        "Planned forms": _mix(style.forms),
    }
    return "\n".join(f"- {name}: {value}." for name, value in facts.items())


def _mix(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({n:,})" for name, n in counts.items()) or "not planned"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _teachers(report: ValidationReport) -> list[tuple[str, ...]]:
    """Return one line per teacher model, the one with the most rows first."""
    rows = report.lineage.rows_by_model
    total = max(1, sum(rows.values()))
    by_count = sorted(rows.items(), key=lambda item: -item[1])
    return [(model, f"{n:,}", f"{100 * n / total:.1f} %") for model, n in by_count]


def _lineage(report: ValidationReport) -> list[tuple[str, ...]]:
    facts = report.lineage
    return [
        ("chunks (SHA-256)", facts.chunks_sha256 or "unknown"),
        ("teacher models", ", ".join(facts.model)),
        ("prompt versions", ", ".join(facts.prompt_version)),
        ("data files (SHA-256)", facts.data_sha256 or "unknown"),
    ]


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
