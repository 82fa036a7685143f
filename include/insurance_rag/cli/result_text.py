"""Writes the result of a command as text for people. Programs read the result as JSON (--json)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

INDENT = "  "
RATE_FIELDS = {"count", "n", "rate", "low", "high"}
"""Fields of a `Rate` record."""


def result_lines(values: Mapping[str, object], indent: str = "") -> Iterator[str]:
    """Yield one line per value, and indented lines for the values of a nested record or list.

    >>> list(result_lines({"rows": 3, "kept": {"v1": 2}, "notes": ["a", "b"]}))
    ['rows: 3', 'kept: v1 2', 'notes:', '  - a', '  - b']
    """
    for key, value in values.items():
        if isinstance(value, Mapping) and value and not _fits_on_a_line(value):
            yield f"{indent}{key}:"
            yield from result_lines(value, indent + INDENT)
        elif isinstance(value, list) and value:
            yield f"{indent}{key}:"
            yield from (f"{indent}{INDENT}- {_text(item)}" for item in value)
        else:
            yield f"{indent}{key}: {_text(value)}"


def _fits_on_a_line(value: Mapping[str, object]) -> bool:
    return value.keys() >= RATE_FIELDS or not any(isinstance(part, (Mapping, list)) for part in value.values())


def _text(value: object) -> str:
    if value is None or value == [] or value == {}:
        return "none"
    if not isinstance(value, Mapping):
        return str(value)
    if value.keys() >= RATE_FIELDS:
        return _rate(value)
    return ", ".join(f"{name} {_text(part)}" for name, part in value.items())


def _rate(value: Mapping[str, object]) -> str:
    """Return a rate with its 95 % confidence interval in percent."""
    count = f"{value['count']} of {value['n']}"
    shares = [100 * share for share in (value["rate"], value["low"], value["high"]) if isinstance(share, float)]
    return f"{count} ({shares[0]:.1f} %, 95 % interval {shares[1]:.1f} to {shares[2]:.1f})" if shares else count
