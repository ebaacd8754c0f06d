"""Points of metrics that callers save: kept, listed, and read as a series."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from shared.calendar import Interval, to_datetime_utc, to_micros

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine

# The period of a point is that of an interval; as it is stored.
PERIODS = {Interval.HOUR: 1, Interval.DAY: 2, Interval.WEEK: 3, Interval.MONTH: 4}
_INTERVALS = {number: interval for interval, number in PERIODS.items()}

# In one order for all writers. xmax is 0 in a row that was not there before.
_SAVE = text("""
INSERT INTO saved_metrics (name, period, point_time, value, target, metadata_json, saved_time)
SELECT name, period, point_time, value, target, metadata_json, :saved_time
FROM unnest(CAST(:names AS text[]), CAST(:periods AS int2[]), CAST(:times AS timestamptz[]),
            CAST(:values AS float8[]), CAST(:targets AS float8[]), CAST(:metadata AS text[]))
     AS point(name, period, point_time, value, target, metadata_json)
ORDER BY name COLLATE "C", period, point_time
ON CONFLICT (name, period, point_time) DO UPDATE SET value = excluded.value, target = excluded.target,
    metadata_json = excluded.metadata_json, saved_time = excluded.saved_time
RETURNING xmax = 0
""")

_LIST = text("""
SELECT listed.*, previous.value AS previous_value
FROM (
    SELECT * FROM saved_metrics
    WHERE (CAST(:name AS text) IS NULL OR name = :name)
      AND (CAST(:period AS int2) IS NULL OR period = :period)
      AND point_time >= :start_time AND point_time < :end_time
      AND (CAST(:after_name AS text) IS NULL
           OR (name, period, point_time) > (:after_name, CAST(:after_period AS int2), :after_time))
    ORDER BY name, period, point_time LIMIT :limit
) AS listed
LEFT JOIN LATERAL (
    SELECT value FROM saved_metrics AS earlier
    WHERE earlier.name = listed.name AND earlier.period = listed.period
      AND earlier.point_time < listed.point_time
    ORDER BY point_time DESC LIMIT 1
) AS previous ON true
ORDER BY name, period, point_time
""")

_READ = text("""
SELECT point_time, value FROM saved_metrics
WHERE name = :name AND period = :period AND point_time >= :start_time AND point_time < :end_time
ORDER BY point_time
""")


@dataclass(frozen=True, slots=True)
class SavedPoint:
    """A point: its identity (name, period, Unix µs), its value and what it came with."""

    name: str
    period: Interval
    time: int
    value: float
    target: float | None
    metadata_json: str


@dataclass(frozen=True, slots=True)
class ListedPoint:
    """A stored point, when it was saved, and the value of the point before it, if there is one."""

    point: SavedPoint
    saved_time: int
    previous_value: float | None


@dataclass(frozen=True, slots=True)
class PointListing:
    """Which points, how many, behind which (name, period as stored, Unix µs)."""

    name: str | None
    period: Interval | None
    time_range: tuple[int, int]
    limit: int
    after: tuple[str, int, int] | None


def save(connection: "Connection", points: "Sequence[SavedPoint]", now: int) -> tuple[int, int]:
    """Save points of different identities; return how many are new and how many replaced one."""
    parameters = {
        "names": [point.name for point in points],
        "periods": [PERIODS[point.period] for point in points],
        "times": [to_datetime_utc(point.time) for point in points],
        "values": [point.value for point in points],
        "targets": [point.target for point in points],
        "metadata": [point.metadata_json or None for point in points],
        "saved_time": to_datetime_utc(now),
    }
    created = sum(connection.execute(_SAVE, parameters).scalars())
    return created, len(points) - created


def list_points(engine: "Engine", listing: PointListing) -> list[ListedPoint]:
    """Return points in the order of name, period and time."""
    after_name, after_period, after_time = listing.after or (None, None, 0)
    start, end = listing.time_range
    parameters = {
        "name": listing.name,
        "period": None if listing.period is None else PERIODS[listing.period],
        "start_time": to_datetime_utc(start),
        "end_time": to_datetime_utc(end),
        "after_name": after_name,
        "after_period": after_period,
        "after_time": to_datetime_utc(after_time),
        "limit": listing.limit,
    }
    with engine.begin() as connection:
        rows = connection.execute(_LIST, parameters).all()
    return [
        ListedPoint(
            SavedPoint(
                row.name,
                _INTERVALS[row.period],
                to_micros(row.point_time),
                row.value,
                row.target,
                row.metadata_json or "",
            ),
            to_micros(row.saved_time),
            row.previous_value,
        )
        for row in rows
    ]


def read_values(
    engine: "Engine", name: str, period: Interval, time_range: tuple[int, int]
) -> list[tuple[int, float]]:
    """Return the (Unix µs, value) of one metric's points in [start, end), in order."""
    start, end = time_range
    parameters = {
        "name": name,
        "period": PERIODS[period],
        "start_time": to_datetime_utc(start),
        "end_time": to_datetime_utc(end),
    }
    with engine.begin() as connection:
        return [(to_micros(time), value) for time, value in connection.execute(_READ, parameters)]
