"""How forecasts are asked for and told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from brain.forecasting.v1 import forecasts_pb2 as pb

from services.forecasting.models import forecast as models
from services.forecasting.models.values import BackTest, Calendar, Errors, Forecast, Interval, Series, Step
from services.forecasting.series import dates_of
from shared import calendar
from shared.intervals import INTERVAL_NUMBERS
from shared.timestamps import from_micros
from shared.validation import Violations, chosen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from services.forecasting.series import Grid

HORIZONS = {
    calendar.Interval.HOUR: 168,
    calendar.Interval.DAY: 30,
    calendar.Interval.WEEK: 12,
    calendar.Interval.MONTH: 6,
}
MAXIMUM_HORIZON = 1_000
_MAXIMUM_LEVELS = 5
_OFTEN = 0.05
_AMOUNT = (0.0, None)
_RATIO = (0.0, 1.0)
_ANY = (None, None)
_KINDS: dict[int, tuple[float | None, float | None]] = {
    pb.VALUE_KIND_UNSPECIFIED: _AMOUNT,
    pb.VALUE_KIND_ANY: _ANY,
    pb.VALUE_KIND_RATIO: _RATIO,
}
_UNITS: dict[str, tuple[float | None, float | None]] = {"ratio": _RATIO, "probability": _RATIO}


@dataclass(frozen=True, slots=True)
class Question:
    """How far to forecast (None: as usual), at which levels, with which known days."""

    horizon: int | None
    levels: tuple[float, ...]
    calendar: Calendar


def question(violations: Violations, field: str, options: pb.ForecastOptions) -> Question:
    """Return how far to forecast and what to say of it."""
    if not 0 <= options.horizon <= MAXIMUM_HORIZON:
        violations.add(f"{field}.horizon", f"must be 1 to {MAXIMUM_HORIZON:,}, or 0 for the usual")
    levels = tuple(options.levels) or models.LEVELS
    if len(levels) > _MAXIMUM_LEVELS or len(set(levels)) < len(levels):
        violations.add(f"{field}.levels", f"must be at most {_MAXIMUM_LEVELS}, all different")
    for at, level in enumerate(levels):
        if not models.LEAST_LEVEL <= level <= 1 - models.LEAST_LEVEL:
            violations.add(
                f"{field}.levels[{at}]",
                f"must be {models.LEAST_LEVEL:g} to {1 - models.LEAST_LEVEL:g}",
            )
    path = f"{field}.calendar"
    known = Calendar(
        dates_of(violations, f"{path}.holidays", options.calendar.holidays),
        dates_of(violations, f"{path}.closures", options.calendar.closures),
    )
    return Question(options.horizon or None, levels, known)


def bounds_of_kind(violations: Violations, kind: int) -> tuple[float | None, float | None]:
    """Return between what values of a kind lie."""
    return chosen(violations, "value_kind", kind, _KINDS)


def bounds_of_unit(unit: str) -> tuple[float | None, float | None]:
    """Return between what values of a metric's unit lie."""
    return _UNITS.get(unit, _AMOUNT)


def to_series(grid: "Grid", bounds: tuple[float | None, float | None]) -> Series:
    """Return what models take; a bound that the history itself often breaks is none."""
    lower, upper = bounds
    present = grid.values[~np.isnan(grid.values)]
    return Series(
        grid.values,
        Step[grid.interval.name],
        grid.dates()[0],
        grid.hour() if grid.interval is calendar.Interval.HOUR else 0,
        lower_bound=None if lower is None or _often(present < lower) else lower,
        upper_bound=None if upper is None or _often(present > upper) else upper,
    )


def _often(broken: "NDArray[np.bool_]") -> bool:
    """Return whether more than single values, a day of refunds for instance, are beyond a bound."""
    return bool(broken.size) and float(np.mean(broken)) > _OFTEN


def answered(violations: Violations, fields: dict[str, str], series: Series, asked: Question) -> Forecast:
    """Return the forecast.

    `fields` are the paths of points, horizon and levels in the request; raise InvalidArgument with everything
    that is wrong.
    """
    usual = HORIZONS[calendar.Interval[series.step.name]]
    horizon = asked.horizon or max(1, min(usual, 2 * series.values.size))
    if not len(violations):  # what is wrong already is told once
        for field, reason in models.problems(series, horizon, asked.levels):
            violations.add(fields[field], reason)
    violations.raise_if_any()
    return models.forecast(series, horizon, asked.levels, asked.calendar)


def to_message(grid: "Grid", found: Forecast) -> pb.Forecast:
    """Return a forecast as a message."""
    return pb.Forecast(
        points=_points(grid, found),
        total=pb.ForecastTotal(
            expected=found.total.value, intervals=[_interval(each) for each in found.total.intervals]
        ),
        model=found.model,
        reason=found.why,
        model_version=models.VERSION,
        back_test=None if found.back_test is None else _back_test(found.back_test),
        warnings=found.warnings,
        time_zone=grid.zone.key,
        interval=INTERVAL_NUMBERS[grid.interval],
        history=grid.messages(),
    )


def _points(grid: "Grid", found: Forecast) -> list[pb.ForecastPoint]:
    parts = found.parts
    return [
        pb.ForecastPoint(
            start_time=from_micros(start),
            expected=found.mean[at],
            intervals=[
                pb.ForecastInterval(level_ratio=band.level, lower=band.lower[at], upper=band.upper[at])
                for band in found.bands
            ],
            parts=pb.ForecastParts(
                level=parts.level[at],
                trend=parts.trend[at],
                season=parts.season[at],
                holiday=parts.holiday[at],
            ),
        )
        for at, (start, _) in enumerate(grid.following(found.mean.size))
    ]


def _interval(interval: Interval) -> pb.ForecastInterval:
    return pb.ForecastInterval(level_ratio=interval.level, lower=interval.lower, upper=interval.upper)


def _back_test(tested: BackTest) -> pb.BackTest:
    return pb.BackTest(
        origins=tested.origins,
        horizon=tested.steps,
        model=_errors(tested.errors),
        seasonal_naive=_errors(tested.seasonal_naive),
        coverage=[
            pb.ForecastCoverage(level_ratio=each.level, covered_ratio=each.covered_ratio)
            for each in tested.coverage
        ],
    )


def _errors(errors: Errors) -> pb.ForecastErrors:
    return pb.ForecastErrors(
        mean_absolute_error=errors.mean_absolute_error,
        mase=errors.mase,
        smape_ratio=errors.smape_ratio,
        bias=errors.bias,
    )
