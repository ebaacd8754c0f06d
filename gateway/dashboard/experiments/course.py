"""How a metric of an experiment developed: a line for each variant, its value at the end of each day."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from brain.experiments.v1 import experiments_pb2 as pb

from gateway.dashboard.experiments.effects import MetricTable, metric_table
from gateway.dashboard.page import charts, formats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

# More lines than this cannot be told apart.
LINES: Final = 6


@dataclass(frozen=True, slots=True)
class Course:
    """A chart, and the same numbers as a table: a header, then a row for each day."""

    chart: charts.Chart
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    # What the chart leaves out.
    note: str


def course(metric: pb.Metric, found: pb.GetResultsOverTimeResponse, zone: "tzinfo") -> Course:
    """Return how a metric developed; nothing is drawn of a day without participants."""
    days = [_day(point, zone) for point in found.points]
    tables = [metric_table(pb.MetricResult(metric=metric, variants=each.variants), fixed=False)
              for each in found.points]  # fmt: skip
    names = [each.variant for each in found.points[0].variants] if found.points else []
    complete = sum(point.complete for point in found.points)
    lines = [
        charts.Series(name, tuple(_value(point.variants[at]) for point in found.points), complete)
        for at, name in enumerate(names[:LINES])
    ]
    rows = [(day, *_cells(table)) for day, table in zip(days, tables, strict=True)]
    return Course(
        _chart(
            metric,
            days,
            lines,
            ["\n".join([day, *_told(table)]) for day, table in zip(days, tables, strict=True)],
        ),
        ("Day", *names, *(f"Effect of {name}" for name in names[1:])),
        tuple(rows),
        f"The first {LINES} variants are drawn." if len(names) > LINES else "",
    )


def _day(point: pb.ResultsPoint, zone: "tzinfo") -> str:
    last = formats.moment(point.end_time) - timedelta(microseconds=1)
    return formats.day_and_month(last.astimezone(zone))


def _value(variant: pb.VariantResult) -> float | None:
    return variant.value if variant.HasField("value") else None


def _cells(table: MetricTable) -> "Sequence[str]":
    effects = (f"{row.effect} ({row.interval})" if row.drawn else row.effect for row in table.rows[1:])
    return (*(row.value for row in table.rows), *effects)


def _told(table: MetricTable) -> "Sequence[str]":
    return [f"{row.name}: {row.value}{f', effect {row.interval}' if row.drawn else ''}" for row in table.rows]


def _chart(
    metric: pb.Metric, days: "Sequence[str]", lines: "Sequence[charts.Series]", texts: "Sequence[str]"
) -> charts.Chart:
    marks = charts.axis([value for one in lines for value in one.values], whole=False)
    shown = formats.percent if metric.kind == pb.METRIC_KIND_CONVERSION else formats.short
    return charts.Chart(
        description=f"{metric.name} over time, {len(lines)} variants at the end of {len(days)} days",
        lines=tuple(charts.line(one, place, marks[0], marks[-1]) for place, one in enumerate(lines)),
        levels=charts.levels(marks, [shown(mark) for mark in marks]),
        moments=charts.moments(days),
        columns=charts.columns(texts),
    )
