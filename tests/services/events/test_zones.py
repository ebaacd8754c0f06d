"""Counts in any zone, whatever the reporting zone, folded or not, against a recount of a list in memory."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, INTERVAL_MONTH, INTERVAL_WEEK, TimeRange
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from services.events.rollups.compaction import compact
from tests.clock import Clock
from tests.services.events.conftest import Service

Happened = tuple[datetime, str, str, int]  # when, who, which event, value

ZONES = ("UTC", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns")
# Clocks changed in London on 2011-10-30, on Lord Howe Island on 2011-10-02, in Newfoundland on 2011-11-06.
FIRST, LAST = datetime(2011, 9, 28, tzinfo=UTC), datetime(2011, 11, 9, tzinfo=UTC)


def stamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def happened(count: int) -> list[Happened]:
    """Events at random, half of them on or beside a half hour, where days of some zone may begin."""
    chance = random.Random(7)
    result = []
    for _ in range(count):
        moment = FIRST + timedelta(seconds=chance.randrange(int((LAST - FIRST).total_seconds())))
        if chance.random() < 0.5:
            moment = moment.replace(minute=chance.choice((0, 30)), second=0)
            moment += timedelta(microseconds=chance.choice((-1, 0, 1)))
        event = chance.choice(("a", "b"))
        result.append((moment, f"user-{chance.randrange(40)}", event, chance.randrange(-500, 500)))
    return result


def track(service: Service, events: list[Happened], first: int, after: int) -> None:
    request = pb.TrackEventsRequest()
    for number, (moment, who, event, value) in list(enumerate(events))[first:after]:
        added = request.events.add(
            event_id=str(number), user_id=who, session_id="s", event=event, value=value
        )
        added.event_time.CopyFrom(stamp(moment))
    assert service.events.TrackEvents(request).accepted == after - first


def local_label(moment: datetime, interval: int, zone: ZoneInfo) -> object:
    """What the interval of a moment is called: two moments share the one if they share the other."""
    local = moment.astimezone(zone)
    if interval == INTERVAL_HOUR:  # a repeated hour is two, told apart by the offset of its clock
        return local.date(), local.hour, local.utcoffset()
    if interval == INTERVAL_DAY:
        return local.date()
    return local.isocalendar()[:2] if interval == INTERVAL_WEEK else (local.year, local.month)


def expected(events: list[Happened], interval: int, zone: ZoneInfo) -> list[tuple[int, int, float]]:
    """Events, people and sum of each interval that has any, in order."""
    groups: dict[object, list[Happened]] = {}
    for each in sorted(events):
        groups.setdefault(local_label(each[0], interval, zone), []).append(each)
    return [
        (len(group), len({each[1] for each in group}), sum(each[3] for each in group))
        for group in groups.values()
    ]


def asked(
    service: Service, interval: int, zone: str, events: tuple[str, ...]
) -> list[tuple[int, int, float]]:
    request = pb.CountEventsRequest(
        time_range=TimeRange(start_time=stamp(FIRST), end_time=stamp(LAST)),
        interval=interval,  # type: ignore[arg-type]  # one of the enum's numbers
        time_zone=zone,
        events=events,
    )
    counts = service.events.CountEvents(request).counts
    starts = [count.start_time.ToNanoseconds() for count in counts]
    assert all(low < high for low, high in pairwise(starts))
    return [(count.events, count.users, count.value_sum) for count in counts if count.events]


@pytest.mark.parametrize("reporting", ZONES)
def test_counts_in_every_zone_equal_a_recount(
    reporting: str, start_service: Callable[..., Service], still: None, clock: Clock
) -> None:
    events = happened(1500)
    service = start_service(reporting_time_zone=reporting)
    track(service, events, 0, 800)
    while compact(service.engine):
        pass
    track(service, events, 800, 1500)

    for folded in (False, True):
        for zone in ZONES:
            for interval in (INTERVAL_HOUR, INTERVAL_DAY, INTERVAL_WEEK, INTERVAL_MONTH):
                where = (reporting, zone, interval, folded)
                want = expected(events, interval, ZoneInfo(zone))
                assert asked(service, interval, zone, ()) == want, where
                only_a = [each for each in events if each[2] == "a"]
                assert asked(service, interval, zone, ("a",)) == expected(only_a, interval, ZoneInfo(zone)), (
                    where
                )
        while compact(service.engine):
            pass
