"""Compares a validation report with an earlier one."""

from __future__ import annotations

from insurance_rag.core.records import CountChange, DatasetDrift, ShareChange, ValidationReport

NOTABLE_CHANGE = 0.05
"""A change in a fraction is notable if it is larger than this."""


def compare_reports(now: ValidationReport, before: ValidationReport) -> DatasetDrift:
    """Compare three kinds of fractions: rows kept, rows dropped by each rule, and kept rows of each question type."""
    old, new = _shares(before), _shares(now)
    shares = {
        name: ShareChange(before=round(old.get(name, 0.0), 4), now=round(new.get(name, 0.0), 4))
        for name in sorted({*old, *new})
    }
    return DatasetDrift(
        rows=CountChange(before=before.rows, now=now.rows),
        shares=shares,
        notable=[name for name, share in shares.items() if abs(share.now - share.before) > NOTABLE_CHANGE],
    )


def _shares(report: ValidationReport) -> dict[str, float]:
    rows, kept = max(1, report.rows), max(1, report.kept)
    return {
        "kept": report.kept / rows,
        **{f"drops.{name}": n / rows for name, n in report.drops.items()},
        **{f"types.{name}": counts.kept / kept for name, counts in report.by_type.items()},
    }
