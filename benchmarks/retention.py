"""Retention: a grid of 60 daily cohorts by 30 days, over gRPC, beside ClickHouse in this process.

Of the ways to ask ClickHouse, by joining days, by arrays of each person's days and by bitmaps, the one that
was quickest stands here.
"""

from datetime import date, timedelta
from typing import TYPE_CHECKING

from brain.common.v1.common_pb2 import INTERVAL_DAY, TimeRange
from brain.events.v1 import retention_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import clickhouse, data, measuring
from benchmarks.report import Line, milliseconds

if TYPE_CHECKING:
    from benchmarks.clickhouse import ClickHouse
    from benchmarks.stored import Stored

COHORTS, OFFSETS = 60, 30
BAR_SECONDS, LEAST_RATIO = 0.050, 10
_EPOCH = date(1970, 1, 1)

# The people of each day as a bitmap, then every pair of days, the day itself (its size) included.
_SQL = """
WITH people AS (
    SELECT toDate(time) AS day, groupBitmapState(user) AS users FROM events
    WHERE time >= toDateTime64('{first} 00:00:00', 6, 'UTC')
      AND time < toDateTime64('{after} 00:00:00', 6, 'UTC')
    GROUP BY day
)
SELECT toUInt32(entry.day), back.day - entry.day AS days, bitmapAndCardinality(entry.users, back.users)
FROM people AS entry CROSS JOIN people AS back
WHERE entry.day < toDate('{last}') AND days BETWEEN 0 AND {offsets}
"""

Grid = dict[tuple[int, int], int]


def run(stored: "Stored", count: int, calls: int) -> list[Line]:
    """Measure `count` stored events, `calls` calls each."""
    database = stored.database(count)
    first = data.first_day(stored.now)
    request, sql = _request(first), _sql(first)
    with (
        clickhouse.loaded(
            stored.stack.directory / "clickhouse_retention", stored.columns(count)
        ) as reference,
        stored.stack.service(database) as service,
        service.channel() as channel,
    ):
        stub = EventsServiceStub(channel)

        def ask() -> pb.GetRetentionResponse:
            return stub.GetRetention(request, metadata=service.metadata)

        _check(ask(), reference, sql)
        here, there = measuring.medians([ask, lambda: reference.ask(sql)], calls)
    return [
        Line(
            f"retention of {COHORTS} daily cohorts by {OFFSETS} days",
            milliseconds(here),
            f"ClickHouse {milliseconds(there)}",
            f"{there / here:.1f} times as fast",
            f"≤ {milliseconds(BAR_SECONDS)}, ≥ {LEAST_RATIO} times",
            here <= BAR_SECONDS and there / here >= LEAST_RATIO,
        )
    ]


def _request(first: int) -> pb.GetRetentionRequest:
    return pb.GetRetentionRequest(
        interval=INTERVAL_DAY,
        offset_days=range(OFFSETS + 1),
        time_range=TimeRange(
            start_time=Timestamp(seconds=first * 86_400),
            end_time=Timestamp(seconds=(first + COHORTS) * 86_400),
        ),
    )


def _sql(first: int) -> str:
    return _SQL.format(
        first=_EPOCH + timedelta(days=first),
        after=_EPOCH + timedelta(days=first + COHORTS + OFFSETS),
        last=_EPOCH + timedelta(days=first + COHORTS),
        offsets=OFFSETS,
    )


def _check(answer: pb.GetRetentionResponse, reference: "ClickHouse", sql: str) -> None:
    ours: Grid = {
        (cohort.start_time.seconds // 86_400, cell.offset_days): cell.returned
        for cohort in answer.cohorts
        for cell in cohort.cells
        if cell.returned
    }
    rows = (line.split() for line in reference.ask(sql).splitlines())
    theirs: Grid = {(int(day), int(days)): int(people) for day, days, people in rows if int(people)}
    if ours != theirs:
        different = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
        raise RuntimeError(f"{len(different)} of {len(theirs)} cells differ, the first {different[:3]}")
