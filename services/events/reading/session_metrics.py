"""The metrics of sessions: from their totals, or with conditions from raw events."""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from services.events.reading.filtered_sessions import read_filtered
from services.events.reading.metrics import ALL_INTERVALS, Metric, Point, Reader, Series
from services.events.sessions.store import read_totals
from services.events.sessions.totals import Totals
from shared.calendar import MICROS

if TYPE_CHECKING:
    from services.events.reading.store import CellStore

_SESSION = (
    "A session is the events of one (who, session id) with no gap over 30 minutes; it counts where it begins,"
    " whoever had it. With filters, sessions are made of the matching events alone."
)
_ABSENT = "no session began in the interval"


def session_totals(store: "CellStore", series: Series) -> list[Totals]:
    """Return the totals of the sessions that begin in each interval."""
    if series.conditions:
        return read_filtered(store.engine, series.intervals, series.conditions)
    return read_totals(store.engine, series.intervals)


def _reader(value: Callable[[Totals], float | None]) -> Reader:
    def read(store: "CellStore", series: Series) -> list[Point]:
        return [Point(value(each), each.sessions) for each in session_totals(store, series)]

    return read


def _mean(sum_of: Callable[[Totals], int], scale: int = 1) -> Callable[[Totals], float | None]:
    def mean(totals: Totals) -> float | None:
        return float(Fraction(sum_of(totals), totals.sessions * scale)) if totals.sessions else None

    return mean


METRICS = (
    Metric(
        "sessions",
        f"Sessions that begin in the interval. {_SESSION}",
        "sessions",
        ALL_INTERVALS,
        _reader(lambda totals: float(totals.sessions)),
    ),
    Metric(
        "session_duration_seconds",
        f"Mean time from a session's first to its last event, sessions of one event (0) included. {_SESSION}",
        "seconds",
        ALL_INTERVALS,
        _reader(_mean(lambda totals: totals.duration_micros, MICROS)),
        absent_reason=_ABSENT,
    ),
    Metric(
        "pages_per_session",
        f"Mean number of a session's events that have a page. {_SESSION}",
        "pages",
        ALL_INTERVALS,
        _reader(_mean(lambda totals: totals.pages)),
        absent_reason=_ABSENT,
    ),
    Metric(
        "bounce_ratio",
        f"Sessions of one event ÷ sessions. {_SESSION}",
        "ratio",
        ALL_INTERVALS,
        _reader(_mean(lambda totals: totals.bounces)),
        absent_reason=_ABSENT,
    ),
)
