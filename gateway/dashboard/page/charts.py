"""The geometry of charts: where things lie in percent of the plot, as the SVG templates draw it.

Positions are percentages, so that a chart fills any width while its text and lines keep their size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_LABELS = 7


@dataclass(frozen=True, slots=True)
class Series:
    """Values in the order of time, None where there is none; what is after `complete` may still change."""

    name: str
    values: tuple[float | None, ...]
    # How many of the values are final.
    complete: int


@dataclass(frozen=True, slots=True)
class Line:
    """A series as SVG paths in a square of 100 by 100, and its single points in percent."""

    name: str
    # From 0, chooses colour and dashes.
    place: int
    path: str
    # From the last complete point on.
    open_path: str
    # Points with no neighbour, which a path would not show.
    lone: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled position in percent; `minor` ones may be left out where there is little room."""

    position: float
    label: str
    minor: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """What is shown of one point in time: its part of the width in percent, and a text."""

    left: float
    width: float
    centre: float
    text: str


@dataclass(frozen=True, slots=True)
class Band:
    """Where values should lie, as an SVG path in a square of 100 by 100; the outer one first, from 0."""

    name: str
    place: int
    path: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A point worth a look, in percent, and what it is."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything a template draws."""

    description: str
    lines: tuple[Line, ...]
    levels: tuple[Tick, ...]
    moments: tuple[Tick, ...]
    columns: tuple[Column, ...]
    bands: tuple[Band, ...] = ()
    marks: tuple[Mark, ...] = ()
    # What the marks are, for the legend.
    marked: str = ""


def axis(values: Sequence[float | None], *, whole: bool) -> tuple[float, ...]:
    """Return the round, equally spaced values of an axis that holds 0 and all values: three to seven.

    `whole` leaves out fractions, for counts.
    """
    known = [value for value in values if value is not None]
    smallest, largest = min([0.0, *known]), max([0.0, *known])
    if smallest == largest:
        return (0.0, 1.0, 2.0)
    # Quarters of the smallest floats are 0, which has no logarithm.
    rough = max((largest - smallest) / 4, 1e-300)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in _STEPS if step * power >= rough * (1 - 1e-12))
    if whole:
        step = math.ceil(step)
    first, last = math.floor(smallest / step), math.ceil(largest / step)
    return tuple(step * index for index in range(first, max(last, first + 2) + 1))


def line(series: Series, place: int, bottom: float, top: float) -> Line:
    """Return the path of a series between two values of the axis."""
    count = len(series.values)
    points = [
        None if value is None else (x_of(index, count), _y_of(value, bottom, top))
        for index, value in enumerate(series.values)
    ]
    first_open = max(series.complete - 1, 0)
    return Line(
        name=series.name,
        place=place,
        path=_path(points[: series.complete]),
        open_path=_path(points[first_open:]) if series.complete < count else "",
        lone=_lone(points),
    )


def band(name: str, place: int, ends: Sequence[tuple[float, float] | None], axis: Sequence[float]) -> Band:
    """Return a band between a lower and an upper end for each column, None where there is none.

    A band of one column has no width and is drawn as a stroke.
    """
    count, bottom, top = len(ends), axis[0], axis[-1]
    inside = [(x_of(index, count), pair) for index, pair in enumerate(ends) if pair is not None]
    upper = [f"{x:g} {_y_of(pair[1], bottom, top):g}" for x, pair in inside]
    lower = [f"{x:g} {_y_of(pair[0], bottom, top):g}" for x, pair in reversed(inside)]
    return Band(name, place, f"M{'L'.join(upper + lower)}Z" if inside else "")


def mark(index: int, count: int, value: float, axis: Sequence[float], text: str) -> Mark:
    """Return a mark at a value of the index-th of `count` columns."""
    return Mark(x_of(index, count), _y_of(value, axis[0], axis[-1]), text)


def x_of(index: int, count: int) -> float:
    """Return the centre of the index-th of `count` columns, in percent."""
    return round(100 * (index + 0.5) / count, 3)


def _y_of(value: float, bottom: float, top: float) -> float:
    return round(100 * (top - value) / (top - bottom), 3)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    parts = []
    pen_down = False
    for point in points:
        if point is not None:
            parts.append(f"{'L' if pen_down else 'M'}{point[0]:g} {point[1]:g}")
        pen_down = point is not None
    return "".join(parts)


def _lone(points: Sequence[tuple[float, float] | None]) -> tuple[tuple[float, float], ...]:
    padded = [None, *points, None]
    return tuple(
        point
        for before, point, after in zip(padded, padded[1:], padded[2:], strict=False)
        if point is not None and before is None and after is None
    )


def levels(marks: Sequence[float], labels: Sequence[str]) -> tuple[Tick, ...]:
    """Return a tick for each mark of an axis."""
    return tuple(
        Tick(_y_of(mark, marks[0], marks[-1]), label) for mark, label in zip(marks, labels, strict=True)
    )


def moments(labels: Sequence[str]) -> tuple[Tick, ...]:
    """Return at most seven ticks under as many columns as there are labels, every second one minor."""
    count = len(labels)
    step = max(1, math.ceil(count / _MOST_LABELS))
    chosen = range(step // 2, count, step)
    return tuple(
        Tick(x_of(index, count), labels[index], minor=place % 2 == 1) for place, index in enumerate(chosen)
    )


def columns(texts: Sequence[str]) -> tuple[Column, ...]:
    """Return a column for each text, side by side."""
    count = len(texts)
    edges = [round(100 * index / max(count, 1), 3) for index in range(count + 1)]
    return tuple(
        Column(left, round(right - left, 3), x_of(index, count), text)
        for index, ((left, right), text) in enumerate(zip(pairwise(edges), texts, strict=True))
    )
