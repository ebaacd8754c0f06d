"""A forecast as its tab shows it: history, path with bands, back-test."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.forecasting.v1 import forecasts_pb2

from gateway.dashboard.page import charts, formats
from gateway.dashboard.page.sums import adds_up
from gateway.dashboard.predictions import anomalies, asking
from gateway.dashboard.predictions.readings import level

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from brain.forecasting.v1 import anomalies_pb2

    from gateway.dashboard.page.csv_files import Cell
    from gateway.dashboard.page.scope import Scope
    from gateway.dashboard.predictions.readings import Reading

CSV_HEADER: Final = (
    "start_time",
    "kind",
    "value",
    "level_ratio_1",
    "lower_1",
    "upper_1",
    "level_ratio_2",
    "lower_2",
    "upper_2",
    "level",
    "trend",
    "season",
    "holiday",
)
HEADER: Final = ("From", "Expected", "80 %", "95 %", "Level", "Trend", "Season", "Holiday")
_LEAST_POINTS: Final = 14


@dataclass(frozen=True, slots=True)
class Tested:
    """A line of the back-test: a method and its errors."""

    name: str
    error: str
    mase: str
    smape: str
    bias: str


@dataclass(frozen=True, slots=True)
class Shown:
    """The forecast."""

    definition: str
    # The sum over the horizon, or its last value where a sum means nothing.
    lead: str
    lead_interval: str
    why: str
    warnings: tuple[str, ...]
    chart: charts.Chart
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    tested: tuple[Tested, ...]
    tested_note: str
    # How far it reaches, in words.
    horizon: str


def shown(
    answer: forecasts_pb2.ForecastMetricResponse,
    reading: "Reading",
    unusual: "anomalies_pb2.Anomalies | None",
) -> Shown:
    """Return the forecast, with the days that were out of the ordinary marked."""
    found = answer.forecast
    lead, interval = _lead(found, reading)
    words = asking.INTERVALS[reading.choice.interval]
    return Shown(
        definition=answer.metric.definition,
        lead=lead,
        lead_interval=interval,
        why=f"{found.model}: {found.reason}",
        warnings=tuple(found.warnings),
        chart=_chart(found, reading, unusual),
        header=HEADER,
        rows=tuple(_row(point, reading) for point in found.points),
        tested=_tested(found, reading),
        tested_note=_tested_note(found, words),
        horizon=f"{len(found.points)} {words}",
    )


def _lead(found: forecasts_pb2.Forecast, reading: "Reading") -> tuple[str, str]:
    words = asking.INTERVALS[reading.choice.interval]
    if adds_up(reading.choice.metric):
        value, intervals = found.total.expected, found.total.intervals
        when = f"in {len(found.points)} {words}"
    else:
        last = found.points[-1]
        value, intervals = last.expected, last.intervals
        when = f"on {reading.label(formats.moment(last.start_time))}"
    texts = [f"{level(each.level_ratio)}: {reading.between(each.lower, each.upper)}" for each in intervals]
    return f"{reading.number(value)} expected {when}", "; ".join(texts)


def _chart(
    found: forecasts_pb2.Forecast, reading: "Reading", unusual: "anomalies_pb2.Anomalies | None"
) -> charts.Chart:
    history = _inside(found.history, reading.scope)
    past = [point.value if point.HasField("value") else None for point in history]
    ahead = [point.expected for point in found.points]
    count = len(past) + len(ahead)
    ends = [(each.lower, each.upper) for point in found.points for each in point.intervals]
    axis = charts.axis([*past, *ahead, *(end for pair in ends for end in pair)], whole=reading.whole)
    stamps = [*(point.start_time for point in history), *(point.start_time for point in found.points)]
    starts = [formats.moment(stamp) for stamp in stamps]
    series = (
        charts.Series("Actual", (*past, *[None] * len(ahead)), count),
        charts.Series("Forecast", (*[None] * len(past), *ahead), count),
    )
    return charts.Chart(
        description=f"{reading.choice.metric}: {len(past)} points and a forecast of {len(ahead)}",
        lines=tuple(charts.line(one, place, axis[0], axis[-1]) for place, one in enumerate(series)),
        levels=charts.levels(axis, [reading.axis_label(each) for each in axis]),
        moments=charts.moments([reading.short_label(start) for start in starts]),
        columns=charts.columns(_texts(starts, past, found, reading)),
        bands=_bands(found, len(past), axis),
        marks=_marks(starts[: len(past)], count, axis, reading, unusual),
        marked="out of the ordinary",
    )


def _inside(
    history: "Sequence[forecasts_pb2.SeriesPoint]", scope: "Scope"
) -> "list[forecasts_pb2.SeriesPoint]":
    """Return the points of the days shown, or more where these are few."""
    inside = [point for point in history if formats.date_of(point.start_time, scope.zone) >= scope.first]
    return list(history[-max(len(inside), _LEAST_POINTS) :])


def _texts(
    starts: "Sequence[datetime]",
    past: "Sequence[float | None]",
    found: forecasts_pb2.Forecast,
    reading: "Reading",
) -> list[str]:
    known = [formats.NOTHING if value is None else reading.number(value) for value in past]
    coming = [
        "\n".join(
            [
                f"{reading.number(point.expected)} expected",
                *(
                    f"{level(each.level_ratio)}: {reading.between(each.lower, each.upper)}"
                    for each in point.intervals
                ),
            ]
        )
        for point in found.points
    ]
    return [f"{reading.label(start)}\n{text}" for start, text in zip(starts, [*known, *coming], strict=True)]


def _bands(found: forecasts_pb2.Forecast, before: int, axis: "Sequence[float]") -> tuple[charts.Band, ...]:
    if not found.points:
        return ()
    widest_first = sorted(
        range(len(found.points[0].intervals)),
        key=lambda at: -found.points[0].intervals[at].level_ratio,
    )
    made = []
    for place, at in enumerate(widest_first):
        ratio = found.points[0].intervals[at].level_ratio
        ends = [(point.intervals[at].lower, point.intervals[at].upper) for point in found.points]
        made.append(charts.band(f"{level(ratio)} interval", place, [*[None] * before, *ends], axis))
    return tuple(made)


def _marks(
    starts: "Sequence[datetime]",
    count: int,
    axis: "Sequence[float]",
    reading: "Reading",
    unusual: "anomalies_pb2.Anomalies | None",
) -> tuple[charts.Mark, ...]:
    if unusual is None:
        return ()
    places = {start: index for index, start in enumerate(starts)}
    return tuple(
        charts.mark(
            places[start],
            count,
            point.value,
            axis,
            f"{reading.label(start)}: {anomalies.against(point, reading)}",
        )
        for point in unusual.points
        if point.anomalous and (start := formats.moment(point.start_time)) in places
    )


def _row(point: forecasts_pb2.ForecastPoint, reading: "Reading") -> tuple[str, ...]:
    parts = point.parts
    return (
        reading.label(formats.moment(point.start_time)),
        reading.number(point.expected),
        *(reading.between(each.lower, each.upper) for each in point.intervals),
        *(reading.number(part) for part in (parts.level, parts.trend, parts.season, parts.holiday)),
    )


def _tested(found: forecasts_pb2.Forecast, reading: "Reading") -> tuple[Tested, ...]:
    if not found.HasField("back_test"):
        return ()
    both = (("This model", found.back_test.model), ("Seasonal naive", found.back_test.seasonal_naive))
    return tuple(
        Tested(
            name,
            reading.number(errors.mean_absolute_error),
            formats.significant(errors.mase) if errors.HasField("mase") else formats.NOTHING,
            formats.percent(errors.smape_ratio),
            _signed(errors.bias, reading),
        )
        for name, errors in both
    )


def _signed(value: float, reading: "Reading") -> str:
    sign = "+" if value > 0 else formats.MINUS if value < 0 else ""
    return f"{sign}{reading.number(abs(value))}"


def _tested_note(found: forecasts_pb2.Forecast, words: str) -> str:
    if not found.HasField("back_test"):
        return ""
    tested = found.back_test
    covered = ", ".join(
        f"{each.covered_ratio * 100:.0f} % of them inside the {level(each.level_ratio)} interval"
        for each in tested.coverage
    )
    note = f"Forecast again from {tested.origins} moments in the past, {tested.horizon} {words} ahead each"
    return f"{note}: {covered}." if covered else f"{note}."


def exported(found: forecasts_pb2.Forecast, scope: "Scope") -> "Iterable[Sequence[Cell]]":
    """Yield a row for each point of the history and of the forecast."""
    for past in found.history:
        start = formats.exact_time(formats.moment(past.start_time), scope.zone)
        yield (start, "history", past.value if past.HasField("value") else None, *[None] * 10)
    for point in found.points:
        ends = [
            number for each in point.intervals[:2] for number in (each.level_ratio, each.lower, each.upper)
        ]
        parts: Mapping[str, float] = {name.name: value for name, value in point.parts.ListFields()}
        yield (
            formats.exact_time(formats.moment(point.start_time), scope.zone),
            "forecast",
            point.expected,
            *ends,
            *(parts.get(name, 0.0) for name in ("level", "trend", "season", "holiday")),
        )
