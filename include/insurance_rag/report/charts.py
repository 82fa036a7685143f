"""Compute the geometry of the charts: axes, ticks and points. The templates draw them as SVG.

Horizontal positions are percentages of the chart width, so a chart fits any column and its dots remain round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from insurance_rag.core.records import Rate
from insurance_rag.report.view import AdapterTraining, BreakdownRow, Evaluation, Funnel

CURVE_POINTS = 400
"""Curves with more points are reduced to about this many, because a screen cannot show more."""


@dataclass(frozen=True)
class Axis:
    """A linear axis with its range and tick values."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return the position of `value` as a percentage of the chart width, clamped to 0–100."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0), 3)


Points = Sequence[tuple[float, float]]

FULL_AXIS = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))


def rate_axis(rates: Iterable[Rate]) -> Axis:
    """Return the shortest of the axes 0–25%, 0–50% and 0–100% that contains all confidence intervals."""
    highest = max((r.high if r.high is not None else r.rate or 0.0 for r in rates), default=1.0)
    for high, step in ((0.25, 0.05), (0.5, 0.1)):
        if highest <= high:
            return Axis(0.0, high, tuple(i * step for i in range(round(high / step) + 1)))
    return FULL_AXIS


def evaluation_axis(evaluation: Evaluation) -> Axis:
    """Return the axis shared by all headline metrics for which lower is better."""
    metrics = {metric for metric in evaluation.metrics if evaluation.label(metric).better == "lower"}
    return rate_axis(rate for model in evaluation.models for metric, rate in model.rates.items() if metric in metrics)


def difference_axis(evaluation: Evaluation) -> Axis:
    """Return an axis, symmetric about zero, that contains the confidence intervals of all paired differences."""
    return symmetric_axis(
        [b for test in evaluation.tests for b in (test.difference, test.low, test.high) if b is not None]
    )


def symmetric_axis(values: Iterable[float]) -> Axis:
    """Return an axis, symmetric about zero, that contains all `values`."""
    widest = max(map(abs, values), default=0.1)
    limit = next((r for r in (0.1, 0.25, 0.5, 1.0) if widest <= r), widest)
    return Axis(-limit, limit, (-limit, -limit / 2, 0.0, limit / 2, limit))


@dataclass(frozen=True)
class Segment:
    """One segment of a horizontal band; `x` and `width` are percentages of the chart width."""

    label: str
    shade: str
    count: int
    x: float
    width: float


def band(kept: int, drops: Sequence[tuple[str, int]], whole: int) -> list[Segment]:
    """Return the segments of a band: kept rows, then dropped rows by reason. The full width stands for `whole` rows."""
    segments, start = [], 0.0
    for place, (label, count) in enumerate([("kept", kept), *drops]):
        width = 100 * count / whole if whole else 0.0
        shade = f"d{place % 4}" if place else "kept"
        segments.append(Segment(label, shade, count, round(start, 3), round(width, 3)))
        start += width
    return segments


def funnel_band(funnel: Funnel) -> list[Segment]:
    """Return the band for all generated rows."""
    return band(funnel.kept, [(drop.label.title, drop.count) for drop in funnel.drops], max(funnel.rows, 1))


def row_band(row: BreakdownRow, funnel: Funnel, widest: int) -> list[Segment]:
    """Return the band for one shard or question type, with the segments in the same order as in `funnel_band`.

    `widest` is the number of rows that fills the chart width.
    """
    return band(row.kept, [(d.label.title, row.drops.get(d.name, 0)) for d in funnel.drops], max(widest, 1))


@dataclass(frozen=True)
class Curves:
    """The axes and curves of one metric of an adapter. Each curve is a string of SVG points in a 1000 x 1000 box."""

    x: Axis
    y: Axis
    train: str
    heldout: str
    last: float | None
    last_heldout: float | None


def loss_curves(training: AdapterTraining, y: Axis, x: Axis) -> Curves:
    """Return the loss curves for one adapter, placed on the given axes."""
    return _curves(training.loss, training.eval_loss, x, y)


def preference_curves(training: AdapterTraining, x: Axis) -> dict[str, Curves]:
    """Return the curves of reward margin and accuracy. Empty if the adapter was not trained on preference pairs."""
    if not training.margin:
        return {}
    values = [value for _, value in (*training.margin, *training.eval_margin)]
    margins = nice_axis(min(0.0, *values), max(0.0, *values))
    return {
        "margin": _curves(training.margin, training.eval_margin, x, margins),
        "accuracy": _curves(training.accuracy, training.eval_accuracy, x, FULL_AXIS),
    }


def _curves(train: Points, heldout: Points, x: Axis, y: Axis) -> Curves:
    last = [points[-1][1] if points else None for points in (train, heldout)]
    return Curves(x, y, _polyline(train, x, y), _polyline(heldout, x, y), *last)


def loss_axes(trainings: Sequence[AdapterTraining]) -> tuple[Axis, Axis]:
    """Return the step axis and the loss axis, which all adapters share so that their curves can be compared."""
    points = [point for training in trainings for point in (*training.loss, *training.eval_loss)]
    steps = nice_axis(0.0, max((step for step, _ in points), default=1.0))
    return steps, nice_axis(0.0, max((value for _, value in points), default=1.0))


def nice_axis(low: float, high: float, intervals: int = 4) -> Axis:
    """Return an axis that covers `low` to `high` in about `intervals` steps of 1, 2, 2.5 or 5 times a power of ten."""
    width = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(width / intervals))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power * intervals >= width)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return Axis(first * step, last * step, tuple(round(i * step, 10) for i in range(first, last + 1)))


def _polyline(points: Points, x: Axis, y: Axis) -> str:
    every = max(math.ceil(len(points) / CURVE_POINTS), 1)
    shown = [*points[:-1:every], *points[-1:]]
    return " ".join(f"{10 * x.at(step):.1f},{1000 - 10 * y.at(value):.1f}" for step, value in shown)
