"""The models that compete for a series, each made of smoothing and seasons."""

import numpy as np

from services.forecasting.models import season, smoothing
from services.forecasting.models.paths import Model, Paths, average, flat, repeated, seasonal_naive
from services.forecasting.models.values import Values

_PROFILE_CYCLES = 12
_HALF_LIFE_CYCLES = 4.0
_SKEW_SHARE = 0.5  # of mean - median: measured beside 0 and 1 on NN5 and a shop's revenue
_SKEW_LIMITS = (-0.5, 1.0)
_CYCLES_CLOSED = 4
_SLOW_ALPHA_PER_CYCLE = 0.3  # of a whole cycle: 0.05 a day for weeks, where 0.03 and 0.1 measured alike


def median_mix(period: int) -> Model:
    """Return the default for days: two robust answers to "what is usual here", averaged."""

    def paths(rows: Values, horizon: int) -> Paths:
        usual = average([_recent_medians(rows, horizon, period), _robust_level(rows, horizon, period)])
        stretch = _skew(rows, usual, period)
        return Paths(usual.level * stretch, usual.trend, usual.season * stretch)

    return Model("median_mix", "recent medians of each place in the cycle with a robust level", paths)


def closed_places(inner: Model, period: int) -> Model:
    """Return the model with 0 where the same place of the last four cycles was always 0, as on days off."""

    def paths(rows: Values, horizon: int) -> Paths:
        ahead = inner.paths(rows, horizon)
        if rows.shape[1] < _CYCLES_CLOSED * period:
            return ahead
        empty = np.all(season.cycles_of(rows, period, _CYCLES_CLOSED) == 0, axis=1)
        closed = repeated(empty, horizon)
        return Paths(ahead.level, ahead.trend, np.where(closed, -ahead.level - ahead.trend, ahead.season))

    return Model(inner.name, inner.does, paths)


def _skew(rows: Values, usual: Paths, period: int) -> Values:
    """Return what to multiply medians by [origins, 1], so that totals of skewed values come nearer."""
    cycles = season.cycles_of(rows, period, _PROFILE_CYCLES)
    above = (cycles.mean(axis=1) - np.median(cycles, axis=1)).mean(axis=1)
    middle = usual.level.mean(axis=1)
    relative = np.divide(above, middle, out=np.zeros_like(above), where=middle > 0)
    stretch: Values = 1 + np.clip(_SKEW_SHARE * relative, *_SKEW_LIMITS)
    return stretch[:, None]


def _recent_medians(rows: Values, horizon: int, period: int) -> Paths:
    usual = season.recent_medians(rows, period, _HALF_LIFE_CYCLES)
    middle = usual.mean(axis=1, keepdims=True)
    level = flat(middle[:, 0], horizon)
    return Paths(level.level, level.trend, repeated(usual - middle, horizon))


def _robust_level(rows: Values, horizon: int, period: int) -> Paths:
    profile = season.median_profile(rows, period, _PROFILE_CYCLES)
    rest = rows - season.along(profile, rows.shape[1])
    alpha = 1 - (1 - _SLOW_ALPHA_PER_CYCLE) ** (1 / period)
    level = flat(smoothing.robust_levels(rest, alpha, 2 * period), horizon)
    return Paths(level.level, level.trend, repeated(profile, horizon))


def theta_profile(period: int) -> Model:
    """Return the theta method on rows winsorised and freed of their additive profile."""

    def paths(rows: Values, horizon: int) -> Paths:
        tame = smoothing.winsorised(rows)
        profile = season.median_profile(tame, period, _PROFILE_CYCLES)
        level, trend = _theta(tame - season.along(profile, rows.shape[1]), horizon)
        return Paths(level, trend, repeated(profile, horizon))

    return Model("theta", "a fitted level with half the long trend (theta)", paths)


def median_theta(period: int) -> Model:
    """Return the default for hours: medians, which noise does not move, and theta, which follows at once."""
    members = (median_mix(period), theta_profile(period))

    def paths(rows: Values, horizon: int) -> Paths:
        return average([member.paths(rows, horizon) for member in members])

    return Model(
        f"median_theta_{period}", f"recent medians of each of {period} hours and theta, averaged", paths
    )


def damped_profile(period: int) -> Model:
    """Return a damped trend on rows freed of their additive profile."""

    def paths(rows: Values, horizon: int) -> Paths:
        profile = season.median_profile(rows, period, _PROFILE_CYCLES)
        levels, trend = smoothing.damped_trends(rows - season.along(profile, rows.shape[1]), horizon)
        return Paths(flat(levels, horizon).level, trend, repeated(profile, horizon))

    return Model("damped_trend", "a fitted level and a trend that fades", paths)


def theta_damped(period: int) -> Model:
    """Return the default for months and weeks: theta and a damped trend on multiplicatively adjusted rows."""

    def paths(rows: Values, horizon: int) -> Paths:
        indices = season.multiplicative_indices(rows, period)
        adjusted = rows / season.along(indices, rows.shape[1])
        level, trend = _theta(adjusted, horizon)
        damped_level, damped_trend = smoothing.damped_trends(adjusted, horizon)
        level = (level + flat(damped_level, horizon).level) / 2
        trend = (trend + damped_trend) / 2
        return Paths(level, trend, (repeated(indices, horizon) - 1) * (level + trend))

    return Model("theta_damped", "theta and a damped trend, averaged, after removing the season", paths)


def drift(period: int) -> Model:
    """Return the last value with the median change of a cycle going on, its profile around it."""

    def paths(rows: Values, horizon: int) -> Paths:
        change = np.median(rows[:, period:] - rows[:, :-period], axis=1) / period
        shape = rows[:, -period:] + change[:, None] * np.arange(period - 1, -1, -1)
        middle = shape[:, -1:] if period == 1 else shape.mean(axis=1, keepdims=True)
        level = flat(middle[:, 0], horizon)
        trend = change[:, None] * np.arange(1, horizon + 1)
        return Paths(level.level, trend, repeated(shape - middle, horizon))

    return Model("robust_drift", "the last cycle with the usual change from cycle to cycle", paths)


def increments(inner: Model) -> Model:
    """Return a model of the steps between values, summed up: what running totals need."""

    def paths(rows: Values, horizon: int) -> Paths:
        steps = np.diff(rows, axis=1)
        ahead = inner.paths(steps, horizon)
        level = flat(rows[:, -1], horizon)
        trend, wave = np.cumsum(ahead.level + ahead.trend, axis=1), np.cumsum(ahead.season, axis=1)
        never_falls = np.all(steps >= 0, axis=1, keepdims=True)
        rising = np.cumsum(np.maximum(ahead.mean, 0), axis=1)
        return Paths(level.level, np.where(never_falls, rising - wave, trend), wave)

    return Model(f"increments_{inner.name}", "the steps between values forecast and summed up", paths)


def naive(period: int) -> Model:
    """Return the seasonal naive forecast."""

    def paths(rows: Values, horizon: int) -> Paths:
        last = rows[:, -period:].mean(axis=1)
        level = flat(last, horizon)
        return Paths(level.level, level.trend, seasonal_naive(rows, horizon, period) - level.level)

    return Model("seasonal_naive", "the last cycle again", paths)


def _theta(rows: Values, horizon: int) -> tuple[Values, Values]:
    """Return level and trend [origins, horizon] of theta lines 0 and 2 averaged.

    Assimakopoulos, Nikolopoulos 2000; the second line is smoothed with a fitted parameter.
    """
    length = rows.shape[1]
    slope, start = smoothing.lines(rows)
    line = start[:, None] + slope[:, None] * np.arange(length)
    end_of_second, _ = smoothing.fitted_levels(2 * rows - line)
    level = (end_of_second + line[:, -1]) / 2
    trend = slope[:, None] / 2 * np.arange(1, horizon + 1)
    return np.repeat(level[:, None], horizon, axis=1), trend
