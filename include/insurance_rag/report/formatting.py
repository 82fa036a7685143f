"""Format numbers for display: grouped thousands, percentages, intervals, p values and durations."""

from __future__ import annotations

from collections.abc import Container, Mapping

from insurance_rag.core.records import Rate
from insurance_rag.core.records.recipes import RecipeRate

NOT_AVAILABLE = "–"


def count(value: float) -> str:
    """Format a number without decimals, with grouped thousands."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Format a fraction between 0 and 1 as a percentage."""
    return NOT_AVAILABLE if value is None else f"{100 * value:.{digits}f}%"


def points(value: float | None) -> str:
    """Format the difference between two rates in percentage points, with its sign."""
    if value is None:
        return NOT_AVAILABLE
    return f"{100 * value:+.1f}".replace("-", "−") if round(value, 3) else "0"


def interval_text(rate: Rate | RecipeRate) -> str:
    """Format a rate's confidence interval in percent."""
    return NOT_AVAILABLE if rate.low is None or rate.high is None else f"{100 * rate.low:.1f}–{100 * rate.high:.1f}"


def range_text(rate: RecipeRate) -> str:
    """Format the smallest and the largest rate of a recipe's adapters in percent."""
    return NOT_AVAILABLE if rate.seeds < 2 else f"{100 * rate.min:.1f}–{100 * rate.max:.1f}"


def pvalue(value: float | None) -> str:
    """Format a p value with three decimals; values below .001 as "< .001"."""
    if value is None:
        return NOT_AVAILABLE
    return "< .001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"


def duration(seconds: float) -> str:
    """Format seconds as H:MM:SS or M:SS."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plain(value: object) -> str:
    """Format a number with grouped thousands; floats get at most four significant digits.

    Other values are converted to strings; None becomes an empty string.
    """
    if isinstance(value, bool | str) or value is None:
        return str(value or "")
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def plain_facts(row: Mapping[str, object], without: Container[str] = ()) -> dict[str, str]:
    """Return the values of `row` as formatted strings. Nested values and the keys in `without` are left out."""
    return {k: plain(v) for k, v in row.items() if k not in without and isinstance(v, str | int | float | bool)}
