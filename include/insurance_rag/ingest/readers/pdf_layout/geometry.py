"""Boxes and the frame of a page in which its text runs from left to right and from top to bottom."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

QUARTER = math.pi / 2


class Box(NamedTuple):
    """A rectangle in points, measured from the upper left corner of the page."""

    x0: float
    top: float
    x1: float
    bottom: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return max(self.width, 0.0) * max(self.height, 0.0)

    def contains(self, x: float, y: float) -> bool:
        return self.x0 <= x <= self.x1 and self.top <= y <= self.bottom

    def encloses(self, other: Box, slack: float = 1.0) -> bool:
        """Return whether `other` is inside this box. `slack` is how far it may stick out, in points."""
        return (
            self.x0 - slack <= other.x0
            and other.x1 <= self.x1 + slack
            and self.top - slack <= other.top
            and other.bottom <= self.bottom + slack
        )

    def overlaps(self, other: Box) -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.top < other.bottom and other.top < self.bottom


def around(boxes: list[Box]) -> Box:
    """Return the smallest box that contains all boxes."""
    return Box(
        min(b.x0 for b in boxes), min(b.top for b in boxes), max(b.x1 for b in boxes), max(b.bottom for b in boxes)
    )


@dataclass(frozen=True)
class Frame:
    """Maps PDF coordinates of a page to a frame in which text of one writing direction is upright."""

    quarter_turns: int
    """Writing direction, counterclockwise from left to right."""
    left: float
    bottom: float
    right: float
    top: float

    @property
    def width(self) -> float:
        return (self.top - self.bottom) if self.quarter_turns % 2 else (self.right - self.left)

    @property
    def height(self) -> float:
        return (self.right - self.left) if self.quarter_turns % 2 else (self.top - self.bottom)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Return the distances of a point from the left and the upper edge of the frame."""
        match self.quarter_turns:
            case 0:
                return x - self.left, self.top - y
            case 1:
                return y - self.bottom, x - self.left
            case 2:
                return self.right - x, y - self.bottom
            case _:
                return self.top - y, self.right - x

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Box:
        """Return the box with two opposite corners."""
        (ax, ay), (bx, by) = self.point(x0, y0), self.point(x1, y1)
        return Box(min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))


def quarter_turns(a: float, b: float) -> int | None:
    """Return the writing direction for the first row (a, b) of a text matrix, or None for a diagonal direction.

    >>> quarter_turns(1.0, 0.0), quarter_turns(0.0, 1.0), quarter_turns(0.7, 0.7)
    (0, 1, None)
    """
    angle = math.atan2(b, a)
    turns = round(angle / QUARTER)
    # Scanned pages with recognized text are often tilted by a few degrees.
    return turns % 4 if abs(angle - turns * QUARTER) < math.radians(10) else None
