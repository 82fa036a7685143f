"""Geometry of the report's pictures: axes, ticks and points. The templates draw them as SVG.

Positions along x are percentages of the width, so that a picture fits any column without distorting its dots.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from insurance_rag.report.view import Book, Evaluation, Funnel, Rate, Training

#: Points kept of a curve: more than a screen can show would only make the file large.
CURVE_POINTS = 400

#: Metrics of which more is better; of every other, less.
HIGHER_IS_BETTER = {"number_accuracy"}


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Position of `value` in percent of the width, kept inside the picture."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0), 3)


def rate_axis(rates: Iterable[Rate]) -> Axis:
    """From 0 to the first of 25, 50, 100 % that holds every interval: one axis for every rate on the page."""
    highest = max((r.high if r.high is not None else r.rate or 0.0 for r in rates), default=1.0)
    high, step = next((top, step) for top, step in ((0.25, 0.05), (0.5, 0.1), (1.0, 0.25)) if highest <= top)
    return Axis(0.0, high, tuple(i * step for i in range(round(high / step) + 1)))


def evaluation_axis(evaluation: Evaluation) -> Axis:
    """One for all the headline metrics of which less is better."""
    metrics = set(evaluation.metrics) - HIGHER_IS_BETTER
    return rate_axis(rate for model in evaluation.models for metric, rate in model.rates.items() if metric in metrics)


def difference_axis(evaluation: Evaluation) -> Axis:
    """Symmetric about zero, wide enough for every interval of a paired difference."""
    bounds = [abs(b) for test in evaluation.tests for b in (test.difference, test.low, test.high) if b is not None]
    widest = max(bounds, default=0.1)
    reach = next((r for r in (0.1, 0.25, 0.5, 1.0) if widest <= r), widest)
    return Axis(-reach, reach, (-reach, -reach / 2, 0.0, reach / 2, reach))


@dataclass(frozen=True)
class Segment:
    label: str
    shade: str
    count: int
    x: float
    width: float


def band(kept: int, drops: Sequence[tuple[str, int]], whole: int) -> list[Segment]:
    """One horizontal band: what was kept, then what each reason took, in percent of `whole`."""
    segments, start = [], 0.0
    for place, (label, count) in enumerate([("kept", kept), *drops]):
        width = 100 * count / whole if whole else 0.0
        shade = f"d{place % 4}" if place else "kept"
        segments.append(Segment(label, shade, count, round(start, 3), round(width, 3)))
        start += width
    return segments


def funnel_band(funnel: Funnel) -> list[Segment]:
    return band(funnel.kept, [(d.reason, d.count) for d in funnel.drops], max(funnel.rows, 1))


@dataclass(frozen=True)
class Curves:
    """The loss of one adapter; `points` strings are SVG polylines in a 1000 x 1000 box."""

    x: Axis
    y: Axis
    loss: str
    eval_loss: str
    last: float | None
    last_eval: float | None


def curves(training: Training, y: Axis, x: Axis) -> Curves:
    return Curves(
        x,
        y,
        _polyline(training.loss, x, y),
        _polyline(training.eval_loss, x, y),
        training.loss[-1][1] if training.loss else None,
        training.eval_loss[-1][1] if training.eval_loss else None,
    )


def loss_axes(trainings: Sequence[Training]) -> tuple[Axis, Axis]:
    """(steps, loss): the same for every adapter, so that the eye may compare them."""
    points = [p for t in trainings for p in (*t.loss, *t.eval_loss)]
    return nice_axis(0.0, max((s for s, _ in points), default=1.0)), nice_axis(
        0.0, max((v for _, v in points), default=1.0)
    )


def nice_axis(low: float, high: float, wanted: int = 4) -> Axis:
    """Round ticks (1, 2, 2.5 or 5 times a power of ten) that cover low..high."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power * wanted >= span)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return Axis(first * step, last * step, tuple(round(i * step, 10) for i in range(first, last + 1)))


def _polyline(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> str:
    every = max(math.ceil(len(points) / CURVE_POINTS), 1)
    shown = [*points[:-1:every], *points[-1:]]
    return " ".join(f"{10 * x.at(step):.1f},{1000 - 10 * y.at(value):.1f}" for step, value in shown)


def total(books: Sequence[Book]) -> Book:
    """The sum of the shards' books."""
    figures = Book.model_fields.keys() - {"label", "state", "why", "moved"}
    done = all(book.state == "done" for book in books)
    return Book(
        label="",
        state="done" if done else "running",
        **{name: sum(getattr(b, name) for b in books) for name in figures},
    )
