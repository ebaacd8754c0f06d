"""The metrics about going from one event to another."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.events.conversion.first_activity import first_activity
from services.events.conversion.matching import best_attempts
from services.events.conversion.questions import MAXIMUM_WINDOW_MINUTES, MINUTE
from services.events.conversion.rates import rates
from services.events.conversion.steps import Conversion, days_of, of_population, read_matched
from services.events.domain import Population, Selection
from services.events.reading.column_cache import ColumnCache, Step
from services.events.reading.metrics import Metric, Point, Series
from shared.calendar import Interval

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.events.reading.store import CellStore

_SECOND = 1e6  # µs
_INTERVALS = (Interval.HOUR, Interval.DAY, Interval.WEEK, Interval.MONTH)
WINDOW_LABEL = "window_minutes"
_NOBODY_STARTED = "nobody did the start event in the interval"


@dataclass(frozen=True)
class ConversionMetrics:
    """Reads them from the columns of raw events, and from cells."""

    columns: ColumnCache
    engine: "Engine"

    def metrics(self) -> tuple[Metric, ...]:
        """Return what can be read."""
        return self._conversion(), self._completion(), self._adoption(), self._time_to_value()

    def _conversion(self) -> Metric:
        return Metric(
            "conversion_ratio",
            "Actors with event `start` in the interval who did event `end` at most window_minutes later, "
            "÷ actors with event `start`. Filters apply to both events. "
            "Complete once every window is over.",
            "ratio",
            _INTERVALS,
            self.conversion_ratio,
            ("start", "end", WINDOW_LABEL),
            {WINDOW_LABEL: (1, MAXIMUM_WINDOW_MINUTES)},
            absent_reason=_NOBODY_STARTED,
        )

    def _completion(self) -> Metric:
        return Metric(
            "completion_ratio",
            "Actors with event `start` in the interval who did event `end` at any time after it, ÷ "
            "actors with event `start`. Filters apply to both events. Rises as long as people complete.",
            "ratio",
            _INTERVALS,
            self.completion_ratio,
            ("start", "end"),
            absent_reason=_NOBODY_STARTED,
        )

    def _adoption(self) -> Metric:
        return Metric(
            "feature_adoption_ratio",
            "People with the event in the interval ÷ people active in it. Filters apply to the event alone.",
            "ratio",
            _INTERVALS,
            self.feature_adoption_ratio,
            ("event",),
            absent_reason="nobody was active in the interval",
        )

    def _time_to_value(self) -> Metric:
        return Metric(
            "time_to_value_seconds",
            "Median time from somebody's first event of any name to their first such event, over the "
            "people whose first such event lies in the interval. Filters apply to the event alone.",
            "seconds",
            _INTERVALS,
            self.time_to_value_seconds,
            ("event",),
            absent_reason="nobody's first such event lies in the interval",
        )

    def conversion_ratio(self, _store: "CellStore", series: Series) -> list[Point]:
        """Return converters ÷ starters of each interval; they rest on the starters."""
        return self._ratios(series, int(series.labels[WINDOW_LABEL]) * MINUTE)

    def completion_ratio(self, _store: "CellStore", series: Series) -> list[Point]:
        """Do the same without a window."""
        return self._ratios(series, None)

    def feature_adoption_ratio(self, store: "CellStore", series: Series) -> list[Point]:
        """Return people with the event ÷ people active; they rest on the people active."""
        width = len(series.intervals)
        # First those with the event: an event stored between both reads must not make a ratio above 1.
        chosen = Selection((series.labels["event"],), conditions=series.conditions)
        adopting = [
            cell.count(Population.PEOPLE) for cell in store.read(series.intervals, chosen).merged(width)
        ]
        cells = store.read(series.intervals, Selection()).merged(width)
        active = [cell.count(Population.PEOPLE) for cell in cells]
        return [
            Point(users / people if people else None, people)
            for users, people in zip(adopting, active, strict=True)
        ]

    def time_to_value_seconds(self, _store: "CellStore", series: Series) -> list[Point]:
        """Return median seconds of each interval; they rest on the people whose first such event it has."""
        step = Step(series.labels["event"], series.conditions)
        start, end = series.intervals[0][0], series.intervals[-1][1]
        events = of_population(self.columns.read(step, days_of(0, end)), Population.PEOPLE)
        events = events.take(np.diff(events.user_keys, prepend=-1) != 0)
        events = events.take((events.times >= start) & (events.times < end))
        seconds = (events.times - first_activity(self.engine, events.user_keys)) / _SECOND
        is_stored = seconds >= 0
        bounds = np.array([start for start, _ in series.intervals], np.int64)
        buckets = np.searchsorted(bounds, events.times[is_stored], "right") - 1
        ends = np.cumsum(np.bincount(buckets, minlength=len(bounds)))
        parts = np.split(seconds[is_stored][np.argsort(buckets)], ends[:-1])
        return [Point(float(np.median(part)) if len(part) else None, len(part)) for part in parts]

    def _ratios(self, series: Series, window: int | None) -> list[Point]:
        bounds = [start for start, _ in series.intervals]
        conversion = Conversion(
            start=Step(series.labels["start"], series.conditions),
            end=Step(series.labels["end"], series.conditions),
            window=window,
            time_range=(bounds[0], series.intervals[-1][1]),
        )
        matched = read_matched(self.columns, conversion)
        attempts = best_attempts(matched.starts, matched.delays, bounds, first_only=False)
        found = rates(attempts, attempts.buckets, len(bounds), None)
        return [
            Point(rate.conversion_ratio, rate.starters, final_time=end + (window or 0))
            for rate, (_, end) in zip(found, series.intervals, strict=True)
        ]
