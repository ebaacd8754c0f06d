"""Retention of every small history, in every mode and zone, against following each person by hand."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_MONTH, INTERVAL_WEEK
from brain.events.v1 import retention_pb2 as pb

from tests.clock import Clock
from tests.services.events.conftest import Service
from tests.services.events.retention.conftest import micros
from tests.services.events.retention.histories import (
    HALF_HOUR,
    LONG_DAY,
    NEW_YEAR,
    ZONES,
    Happened,
    day_of,
    days_by_person,
    histories,
    local_day,
    span,
    units,
)

INTERVALS = (INTERVAL_DAY, INTERVAL_WEEK, INTERVAL_MONTH)
MODES = (pb.RETENTION_MODE_ON_DAY, pb.RETENTION_MODE_ON_OR_AFTER)
ENTRIES = (pb.RETENTION_ENTRY_RECURRING, pb.RETENTION_ENTRY_FIRST_EVER)
SELECTIONS = (("", ""), ("start", "back"), ("start", ""), ("start", "start"))
OFFSETS = (0, 1, 2, 6, 7, 8)

Cell = tuple[int, float | None, str, bool]
Row = tuple[date, int, list[Cell]]


class ByHand:
    """A question answered person by person."""

    def __init__(self, request: pb.GetRetentionRequest, events: list[Happened], now: datetime) -> None:
        self.request = request
        zone = ZoneInfo(request.time_zone)
        self.starts = days_by_person(events, zone, request.start_event)
        self.returns = days_by_person(events, zone, "".join(request.return_events))
        self.today = local_day(now, zone)
        first, after = (
            day_of(stamp, zone) for stamp in (request.time_range.start_time, request.time_range.end_time)
        )
        self.cohorts = units(first, after, request.interval)

    def rows(self) -> list[Row]:
        return [self._row(*cohort) for cohort in self.cohorts]

    def _row(self, first: date, after: date) -> Row:
        entered = {}
        for person, days in self.starts.items():
            if self.request.entry == pb.RETENTION_ENTRY_FIRST_EVER:
                days = {min(days)}  # noqa: PLW2901 - of all days the one that lets in
            inside = [day for day in days if first <= day < after]
            if inside:
                entered[person] = min(inside)
        cells = [self._cell(entered, after, timedelta(days=offset)) for offset in OFFSETS]
        return first, len(entered), cells

    def _cell(self, entered: dict[str, date], after: date, offset: timedelta) -> Cell:
        end = self.cohorts[-1][1]
        later = self.request.mode == pb.RETENTION_MODE_ON_OR_AFTER
        returned = 0
        for person, entry in entered.items():
            days = self.returns.get(person, set())
            if later:
                returned += any(entry + offset <= day < end for day in days)
            else:
                returned += entry + offset in days
        last = max(entered.values(), default=after - timedelta(days=1)) + offset
        complete = after <= self.today and last < self.today and (last < end or not later)
        reason = ""
        if not entered:
            reason = "EMPTY_COHORT"
        elif later and min(entered.values()) + offset >= end:
            reason = "BEYOND_RANGE"
        elif min(entered.values()) + offset > self.today:
            reason = "NOT_BEGUN"
        return returned, None if reason else returned / len(entered), reason, complete


def found(answer: pb.GetRetentionResponse, zone: ZoneInfo) -> list[Row]:
    return [
        (
            day_of(cohort.start_time, zone),
            cohort.size,
            [
                (
                    cell.returned,
                    cell.ratio if cell.HasField("ratio") else None,
                    cell.absent_reason,
                    cell.complete,
                )
                for cell in cohort.cells
            ],
        )
        for cohort in answer.cohorts
    ]


def averages_of(rows: list[Row]) -> list[tuple[int, int, int]]:
    """Return cohorts, people and returns of each offset's complete cells."""
    result = []
    for column in range(len(OFFSETS)):
        cells = [(size, cells[column]) for _, size, cells in rows if size and cells[column][3]]
        result.append((len(cells), sum(size for size, _ in cells), sum(cell[0] for _, cell in cells)))
    return result


def requests(first: date, after: date, zone: ZoneInfo) -> list[pb.GetRetentionRequest]:
    return [
        pb.GetRetentionRequest(
            start_event=start,
            return_events=[back] if back else [],
            interval=interval,
            offset_days=OFFSETS,
            mode=mode,
            entry=entry,
            time_range=span(first, after, zone),
            time_zone=zone.key,
        )
        for (start, back), interval, mode, entry in product(SELECTIONS, INTERVALS, MODES, ENTRIES)
    ]


@dataclass(frozen=True)
class Case:
    """Histories, the reporting zone, the days asked about, and the time it is."""

    moments: tuple[datetime, ...]
    reporting: str
    first: date
    after: date
    now: datetime


CASES = {
    "new year": Case(
        NEW_YEAR, "UTC", date(2010, 12, 29), date(2011, 1, 4), datetime(2011, 1, 5, 12, tzinfo=UTC)
    ),
    "new year of half hours": Case(
        NEW_YEAR, "Asia/Kolkata", date(2010, 12, 31), date(2011, 1, 3), datetime(2011, 2, 9, tzinfo=UTC)
    ),
    "long day": Case(
        LONG_DAY, "Europe/London", date(2011, 10, 25), date(2011, 11, 2), datetime(2011, 11, 1, tzinfo=UTC)
    ),
    "half hour": Case(
        HALF_HOUR,
        "Australia/Lord_Howe",
        date(2011, 9, 25),
        date(2011, 10, 4),
        datetime(2011, 10, 9, 13, tzinfo=UTC),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_retention_of_every_history_is_that_of_each_person(
    case: Case, holding: Callable[[list[Happened], str], Service], clock: Clock
) -> None:
    events = histories(case.moments)
    service = holding(events, case.reporting)
    clock.micros = micros(case.now)
    for name in ZONES:
        zone = ZoneInfo(name)
        for request in requests(case.first, case.after, zone):
            answer = service.events.GetRetention(request)
            rows = ByHand(request, events, case.now).rows()
            assert found(answer, zone) == rows, request
            averages = [(each.cohorts, each.users, each.returned) for each in answer.averages]
            assert averages == averages_of(rows), request
            assert (answer.mode, answer.entry) == (request.mode, request.entry)
